"""Log-probabilities of a small policy, packed, on the device and on the CPU, against one response at a time in float64.

The reference is transformers' own model on the CPU: another attention, another layout, another head.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from transformers import LlamaForCausalLM

from cases import ULTRAFEEDBACK
from paths import segments_only
from preference_pairs import TEMPERATURE, made_pairs, random_policy
from record import Row, judged
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from small_models import direct_logprob
from tasks import Exam, Task

POLICY = {"vocabulary": 32_000, "hidden": 512, "layers": 4, "heads": 8, "pairs": 8, "budget": 4096, **ULTRAFEEDBACK}
SMALL_POLICY = {"vocabulary": 500, "hidden": 64, "layers": 2, "heads": 4, "pairs": 4, "longest": 40, "budget": 64}
SPREAD = 3.0
"""Standard deviation of the logits: a policy that knows something."""
BARS = {"float32": 1e-5, "bfloat16": 1e-2}
"""Error of a response's log-probability per token, the mean over the responses."""
CPU = torch.device("cpu")


def tasks(exam: Exam) -> list[Task]:
    with_reference = References(SMALL_POLICY if exam.small else POLICY)
    gpu, missing = exam.device, exam.no_gpu
    return [
        Task("log-probabilities, CPU, float32", 30, lambda: with_reference.row(CPU, "float32")),
        Task("log-probabilities, CPU, bfloat16", 15, lambda: with_reference.row(CPU, "bfloat16")),
        Task("log-probabilities, GPU, float32", 10, lambda: with_reference.row(gpu, "float32"), missing),
        Task("log-probabilities, GPU, bfloat16, flash", 5, lambda: with_reference.row(gpu, "bfloat16"), missing),
        Task(
            "log-probabilities, GPU, bfloat16, segments",
            5,
            lambda: with_reference.row(gpu, "bfloat16", flash=False),
            missing,
        ),
    ]


class References:
    """A policy, pairs, and the log-probabilities of their responses by definition."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.pairs: list[Pair] = made_pairs(options)

    @functools.cached_property
    def policy(self) -> LlamaForCausalLM:
        policy = random_policy(self.options, CPU)
        torch.manual_seed(1)
        with torch.no_grad():
            policy.lm_head.weight.normal_(std=SPREAD / self.options["hidden"] ** 0.5)
        return policy

    @functools.cached_property
    def expected(self) -> torch.Tensor:
        """float64 (responses,): all chosen, then all rejected."""
        exact = copy.deepcopy(self.policy).double()
        with torch.no_grad():
            return torch.stack(
                [
                    direct_logprob(exact, pair.prompt_token_ids, pair.prompt_group.responses[side], TEMPERATURE)
                    for side in range(2)
                    for pair in self.pairs
                ]
            )

    def row(self, device: torch.device, precision: str, *, flash: bool = True) -> Iterator[Row]:
        """The error of packed log-probabilities on a device."""
        model = ResponseLogprobs(copy.deepcopy(self.policy).to(device), TEMPERATURE)
        by = "" if device.type == "cpu" or precision == "float32" else ", by flash" if flash else ", by segments"
        with segments_only() if not flash else contextlib.nullcontext():
            chosen, rejected = pair_logprobs(model, self.pairs, precision, self.options["budget"])
        tokens = [len(pair.prompt_group.responses[side]) for side in range(2) for pair in self.pairs]
        errors = (torch.tensor([*chosen, *rejected]).double() - self.expected).abs() / torch.tensor(tokens)
        mean, largest, bar = float(errors.mean()), float(errors.max()), BARS[precision]
        yield judged(
            f"log-probabilities, {device.type.upper().replace('CUDA', 'GPU')}, {precision}{by}, per token",
            f"{mean:.1e} on average, {largest:.1e} at most",
            f"≤ {bar:.0e} on average",
            passed=mean <= bar,
            mean=mean,
            largest=largest,
            logprob_per_token=float(self.expected.sum() / sum(tokens)),
        )
