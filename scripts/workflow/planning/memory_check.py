"""The memory per GPU of each stage, and an error if one cannot fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from rlhf.base.errors import UserError
from rlhf.machine.budgets import GB, MemoryOf, check_budget, smaller_budget_remedy, training_remedy
from rlhf.machine.choices import BudgetChoice
from rlhf.machine.memory import (
    TrainingSetup,
    logprob_memory,
    sampling_memory,
    scoring_memory,
    training_memory,
)
from rlhf.machine.model_shapes import ModelShape, known_shape
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import Scorer
from workflow.experiment import Experiment
from workflow.hardware import TrainingHardware
from workflow.iterations import most_candidates
from workflow.variants.examples import learns_from_examples

planned_shape = cache(known_shape)
"""Cached: a plan asks once per job."""
VLLM_SHARE = 0.9
"""The share of GPU memory that vLLM reserves by default."""


@dataclass(frozen=True)
class StageMemory:
    """The memory that a stage needs on one GPU."""

    rule: str
    key: str
    """The key of the configuration, for errors."""
    memory: MemoryOf
    budget: BudgetChoice
    longest: int
    """Tokens of the longest sequence (a pair with its prompt, a conversation)."""
    remedy: Callable[[float], str]

    def checked(self, gpu_bytes: float) -> float:
        """Bytes that the stage takes on a GPU of this size, with its token budget.

        Raises:
            UserError: it cannot fit.
        """
        try:
            budget = check_budget(self.budget, self.memory, self.longest, gpu_bytes, self.remedy)
        except UserError as error:
            raise UserError(f"{self.key}: {error}") from error
        return self.memory(max(budget, self.longest)).total


def check_memory(experiment: Experiment, training: TrainingHardware) -> None:
    """Check that every stage fits its GPUs, as far as the shapes of the models are known.

    Args:
        training: the hardware of `train_policy`, with overrides from a profile.

    Raises:
        UserError: which stage, what it needs, and settings that would fit.
    """
    for stage in stage_memories(experiment, training):
        stage.checked(experiment.hardware.gpu_memory_gb * GB)


def gigabytes(experiment: Experiment, training: TrainingHardware) -> dict[str, float]:
    """GB per GPU of each GPU rule whose model is known; the maximum over variants and scorers."""
    found: dict[str, float] = {}
    gpu_bytes = experiment.hardware.gpu_memory_gb * GB
    for stage in stage_memories(experiment, training):
        needed = stage.checked(gpu_bytes)
        if stage.rule in ("generate_responses", "run_benchmark"):
            needed = max(needed, VLLM_SHARE * gpu_bytes)
        found[stage.rule] = max(found.get(stage.rule, 0.0), needed / GB)
    return found


def stage_memories(experiment: Experiment, training: TrainingHardware) -> Iterator[StageMemory]:
    """All GPU stages whose models have known shapes."""
    hardware, policy = experiment.hardware, policy_shape(experiment)
    if policy is not None:
        yield from _policy_stages(experiment, policy, training)
    yield from _benchmark_stages(experiment, policy)
    judge = experiment.evaluation.judge
    scorers = {"score_responses": scorers_of(experiment), "judge_responses": [judge] if judge else []}
    for rule, members in scorers.items():
        section = hardware.score_responses if rule == "score_responses" else hardware.judge_responses
        for scorer in members:
            shape = scorer_shape(scorer)
            if section.gpu and shape is not None and isinstance(scorer, ModelScorer):
                memory = partial(scoring_memory, shape, scorer.precision)
                key = "rewards.max_tokens" if rule == "score_responses" else "evaluation.judge.max_tokens"
                remedy = partial(smaller_budget_remedy, memory, scorer.max_tokens, key)
                yield StageMemory(rule, f"hardware.{rule}", memory, section.token_budget, scorer.max_tokens, remedy)


def _benchmark_stages(experiment: Experiment, policy: ModelShape | None) -> Iterator[StageMemory]:
    """The models that benchmarks serve with vLLM: the policy, a copy on each GPU, and a judge without a URL."""
    benchmarks, hardware = experiment.benchmarks, experiment.hardware.run_benchmark
    if not benchmarks.run or not hardware.gpu:
        return
    judge = benchmarks.judge
    served = [(policy, 1, "take GPUs with more memory")]
    if judge is not None and judge.url is None:
        remedy = "raise hardware.run_benchmark.judge_tensor_parallel (and gpu), or choose a smaller judge"
        served.append((planned_shape(judge.model, judge.revision), hardware.judge_tensor_parallel, remedy))
    for shape, gpus, remedy in served:
        if shape is not None:
            memory = partial(sampling_memory, shape, "bfloat16", gpus)
            longest = shape.context
            yield StageMemory(
                "run_benchmark", "hardware.run_benchmark", memory, longest, longest, partial(_say, remedy)
            )


def _say(remedy: str, gpu_bytes: float) -> str:
    """A remedy that does not depend on the size of the GPU."""
    return remedy


def _policy_stages(experiment: Experiment, shape: ModelShape, training: TrainingHardware) -> Iterator[StageMemory]:
    hardware, responses = experiment.hardware, experiment.responses
    if hardware.generate_responses.gpu and responses.engine == "vllm":
        longest = responses.max_model_len or shape.context
        memory = partial(sampling_memory, shape, responses.precision, hardware.generate_responses.gpu)
        remedy = partial(smaller_budget_remedy, memory, longest, "responses.max_model_len")
        yield StageMemory("generate_responses", "hardware.generate_responses", memory, longest, longest, remedy)
    longest = longest_pair(experiment)
    if hardware.compute_logprobs.gpu:
        memory = partial(logprob_memory, shape, experiment.logprobs.precision)
        remedy = partial(smaller_budget_remedy, memory, longest, "responses.max_tokens")
        budget = hardware.compute_logprobs.token_budget
        of_examples = ["compute_example_logprobs"] if learns_from_examples(experiment) else []
        for rule in ("compute_logprobs", *of_examples):  # an example has two responses, like a pair
            yield StageMemory(rule, "hardware.compute_logprobs", memory, budget, longest, remedy)
    if experiment.evaluation.kl_to_base and hardware.measure_drift.gpu:
        response = experiment.prompts.max_tokens + responses.max_tokens
        memory = partial(logprob_memory, shape, experiment.logprobs.precision)
        remedy = partial(smaller_budget_remedy, memory, response, "responses.max_tokens")
        budget = hardware.measure_drift.token_budget
        yield StageMemory("measure_drift", "hardware.measure_drift", memory, budget, response, remedy)
    for variant in experiment.trained if training.gpu else ():
        setup = training_setup(experiment, variant, training)
        memory = partial(training_memory, shape, setup)
        remedy = partial(training_remedy, shape, setup, longest)
        key = f"hardware.train_policy, variant {variant}"
        yield StageMemory("train_policy", key, memory, training.token_budget, longest, remedy)


def training_setup(experiment: Experiment, variant: str, training: TrainingHardware) -> TrainingSetup:
    """The parts of a variant's recipe and of the hardware that determine the memory of its training."""
    recipe = experiment.recipe(variant)
    return TrainingSetup(
        strategy=training.effective_strategy,
        processes=training.process_count,
        activations=training.activations,
        precision=experiment.logprobs.precision,
        optimizer=recipe.optimizer,
        lora_rank=None if recipe.lora is None else recipe.lora.rank,
    )


def longest_pair(experiment: Experiment) -> int:
    """Tokens of a prompt and two responses of maximum length; the responses of several pairs can be divided."""
    return experiment.prompts.max_tokens + 2 * experiment.responses.max_tokens


def largest_prompt(experiment: Experiment) -> int:
    """Tokens of a prompt and the responses of all its pairs, of maximum length."""
    responses = experiment.pairs.most_responses(most_candidates(experiment))
    return experiment.prompts.max_tokens + responses * experiment.responses.max_tokens


def policy_shape(experiment: Experiment) -> ModelShape | None:
    """The shape of `base`, and so of all policies."""
    return planned_shape(experiment.base_model.name, experiment.base_model.revision)


def scorers_of(experiment: Experiment) -> list[Scorer]:
    """The scorers of the training rewards."""
    return [scorer for key, scorer in experiment.scorers().items() if key != "evaluation.judge"]


def scorer_shape(scorer: Scorer | None) -> ModelShape | None:
    """The shape of a scorer's model; None for a function."""
    if not isinstance(scorer, ModelScorer):
        return None
    return planned_shape(scorer.model, scorer.revision)
