"""The expected duration of each job before any has run."""

from __future__ import annotations

from rlhf.base.names import variant_and_iteration
from rlhf.benchmarks.costs import expected
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.throughput import START_SECONDS, forward_seconds, sampling_seconds, training_seconds
from rlhf.training.settings import mixed_counts
from workflow.experiment import Experiment
from workflow.hardware import TrainingHardware
from workflow.iterations import most_candidates, training_prompts
from workflow.planning.memory_check import planned_shape, policy_shape, scorer_shape, scorers_of, training_setup

MEAN_PROMPT, MEAN_RESPONSE = 170, 410
"""Tokens of UltraFeedback's prompts, and of Llama-3-8B-Instruct's responses to them."""
PAIRED = 0.95
"""Prompts of which a pair is made: 56,100 of 59,000 published."""
EXAMPLES = 1.0
"""Responses that become examples, at most: what lies between the thresholds is not known before."""


def expected_seconds(
    experiment: Experiment, training: TrainingHardware, rule: str, policy: str, part: str
) -> float | None:
    """Seconds of a GPU job; None for other jobs, and if the shape of the model is unknown."""
    base, tflops = policy_shape(experiment), experiment.hardware.gpu_tflops
    prompt = min(MEAN_PROMPT, experiment.prompts.max_tokens)
    response = min(MEAN_RESPONSE, experiment.responses.max_tokens)
    draws, paired = experiment.responses.draws, experiment.pairs.most_responses(most_candidates(experiment))
    hardware = experiment.hardware
    if rule == "train_policy" and base is not None and training.gpu:
        variant = variant_and_iteration(policy)[0]
        rows, loss = _trained_rows(experiment, policy), experiment.loss(policy)
        setup = training_setup(experiment, variant, training)
        head = rows * (paired if loss.needs_rejected else 1) * response
        seconds = training_seconds(base, setup, rows * prompt + head, head, training.gpu, tflops)
        # Before each step the mismatched responses go through a forward pass.
        forward = forward_seconds(base, rows * prompt + head, head, tflops * training.gpu) - START_SECONDS
        return seconds + forward if loss.unpaired else seconds
    if rule == "run_benchmark":
        return _benchmark_seconds(experiment, part)
    rows = _rows(experiment, part) if part else 0
    if rule == "generate_responses" and base is not None and hardware.generate_responses.gpu:
        return sampling_seconds(base, rows * draws * response, hardware.generate_responses.gpu, tflops)
    if rule == "compute_logprobs" and base is not None and hardware.compute_logprobs.gpu:
        head = PAIRED * rows * paired * response
        return forward_seconds(base, PAIRED * rows * prompt + head, head, tflops)
    if rule == "compute_example_logprobs" and base is not None and hardware.compute_logprobs.gpu:
        head = EXAMPLES * rows * draws * 2 * response
        return forward_seconds(base, EXAMPLES * rows * draws * prompt + head, head, tflops)
    if rule == "measure_drift" and base is not None and hardware.measure_drift.gpu:
        responses = experiment.prompts.test * draws
        return 2 * forward_seconds(base, responses * (prompt + response), responses * response, tflops)
    if rule in ("score_responses", "judge_responses") and getattr(hardware, rule).gpu:
        shapes = _scorer_shapes(experiment, rule)
        tokens = rows * (prompt + draws * response)
        found = [forward_seconds(shape, tokens, 0, tflops) for shape in shapes if shape is not None]
        return sum(found) / len(found) if found else None
    return None


def _benchmark_seconds(experiment: Experiment, benchmark: str) -> float | None:
    """Seconds to answer a benchmark's questions, and to judge the answers if the job serves the judge."""
    section, hardware = experiment.benchmarks, experiment.hardware
    asked, policy = expected(benchmark, section.run[benchmark], section.judge), policy_shape(experiment)
    if asked is None or policy is None or not hardware.run_benchmark.gpu:
        return None
    gpus, tflops = hardware.run_benchmark.gpu, hardware.gpu_tflops
    seconds = _serving_seconds(policy, asked.prompt_tokens, asked.answer_tokens, gpus, tflops)
    if section.judge is None or section.judge.url is not None or not asked.judge_requests:
        return seconds
    judge = planned_shape(section.judge.model, section.judge.revision)
    if judge is None:
        return None
    read = asked.judge_tokens - asked.judge_answer_tokens
    return seconds + _serving_seconds(judge, read, asked.judge_answer_tokens, gpus, tflops)


def _serving_seconds(shape: ModelShape, read: float, written: float, gpus: int, tflops: float) -> float:
    """Seconds to start a server, read `read` tokens and write `written`; that requests share prefixes is left out."""
    reading = forward_seconds(shape, read / gpus, 0, tflops) - START_SECONDS
    return sampling_seconds(shape, written, gpus, tflops) + reading


def _trained_rows(experiment: Experiment, policy: str) -> float:
    """The number of prompts with pairs, or of examples, that a training processes over all epochs."""
    variant = variant_and_iteration(policy)[0]
    recipe, share = experiment.recipe(variant), experiment.iteration_settings(variant).earlier_share
    current, earlier = training_prompts(experiment, policy)
    prompts = current + earlier if share is None or not earlier else sum(mixed_counts(current, earlier, share))
    per_prompt = EXAMPLES * experiment.responses.draws if experiment.loss(policy).unpaired else PAIRED
    return recipe.pairs if recipe.pairs is not None else per_prompt * prompts * recipe.epochs


def _rows(experiment: Experiment, part: str) -> int:
    rows = experiment.rows(part)
    return rows.stop - rows.start


def _scorer_shapes(experiment: Experiment, rule: str) -> list[ModelShape | None]:
    """The shapes of all scorers; each scores in jobs of its own."""
    judge = experiment.evaluation.judge
    scorers = scorers_of(experiment) if rule == "score_responses" else [judge]
    return [scorer_shape(scorer) for scorer in scorers]
