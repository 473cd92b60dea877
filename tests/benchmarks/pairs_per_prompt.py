"""Four pairs per prompt, the best of five draws against each of the others: against one pair, or separate pairs."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from preference_pairs import made_ids, pair_of, random_policy, take_gradient, training_spec
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.paired_prompts import PairedPrompt, SeveralPairs
from rlhf.responses.engine import Request
from rlhf.responses.engines.transformers import TransformersEngine
from rlhf.responses.settings import SamplingSettings
from rlhf.training.data import pairs_of
from rlhf.training.optimization.step import backward_batch, count_tokens
from small_tokenizers import small_tokenizer

DRAWS = 5


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Make the policy and the prompts with five responses each.

    The pipeline's way is four pairs per prompt; the peer's is `one pair` per prompt, or these four as `separate pairs`.
    The work is `logprobs`, the `gradient`, or an `iteration`: five draws of each prompt, the log-probabilities of the
    pairs and their gradient. Scoring is left out of it: it takes both sides the same time.
    """
    torch.set_num_threads(options["threads"])
    policy = random_policy(options, torch.device("cpu"))
    asked = five_responses(options)
    spec, accelerator = training_spec(options), Accelerator(cpu=True)
    engine = sampling_engine(policy, options, folder) if options["work"] == "iteration" else None
    model = ResponseLogprobs(policy, spec.temperature)

    def sampled() -> list[list[list[int]]]:
        """The prompts with the draws of this round, the same on both sides."""
        assert engine is not None
        seeds = [[DRAWS * row + draw for draw in range(DRAWS)] for row in range(len(asked))]
        requests = [Request(str(row), ids[0], seeds[row]) for row, ids in enumerate(asked)]
        with Progress(DRAWS * len(requests), "responses", "sampling") as progress:
            drawn = engine.sample(requests, progress)
        return [[ids[0], *(draw.token_ids for draw in draws)] for ids, draws in zip(asked, drawn, strict=True)]

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        prompts = units(way, sampled() if engine else asked)
        if options["work"] != "gradient":
            pair_logprobs(model, prompts, spec.precision, options["token_budget"])
        if options["work"] != "logprobs":
            sums = backward_batch(model, prompts, spec, accelerator, options["token_budget"])
        facts: dict[str, Any] = {"seconds": time.perf_counter() - start}
        facts |= {
            "tokens": sum(sum(map(len, ids)) for ids in asked),
            "computed_tokens": sum(map(count_tokens, prompts)),
        }
        if options["against"] == "separate pairs":
            facts["scores"] = (sums[2:] / len(pairs_of(prompts) if way != "pipeline" else prompts)).tolist()
            facts["gradient"] = str(take_gradient(policy, folder / "gradient.pt"))
        return facts

    return work


def five_responses(options: dict[str, Any]) -> list[list[list[int]]]:
    """Prompts with five responses each, of random tokens, as long as the options ask for."""
    numbers = random.Random(0)
    return [made_ids(options, numbers, DRAWS) for _ in range(options["prompts"])]


def units(way: str, asked: Sequence[Sequence[list[int]]]) -> list[PairedPrompt]:
    """What is trained on: four pairs of a prompt together or apart, or the first of them alone."""
    found: list[PairedPrompt] = []
    for index, (prompt, best, *others) in enumerate(asked):
        pairs = [pair_of(index, prompt, best, other) for other in others]
        found += {"pipeline": [SeveralPairs(pairs)], "one pair": pairs[:1], "separate pairs": pairs}[way]
    return found


def sampling_engine(policy: Any, options: dict[str, Any], folder: Path) -> TransformersEngine:
    """The engine with the same weights; responses nearly always have the maximum length."""
    policy.save_pretrained(folder / "policy")
    small_tokenizer().save_pretrained(folder / "policy")
    sampling = SamplingSettings(
        temperature=0.8, top_p=0.9, max_tokens=options["response_tokens"], precision=options["precision"]
    )
    return TransformersEngine(str(folder / "policy"), None, sampling, torch.device("cpu"), token_budget=10**6)
