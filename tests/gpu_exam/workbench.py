"""A policy of Llama-3-8B's layer shapes and pairs of UltraFeedback's lengths, and the work that is timed with them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from cases import LLAMA3_8B_8_LAYERS, SMALL_PAIRS, ULTRAFEEDBACK
from preference_pairs import (
    TEMPERATURE,
    Pair,
    gradient_apart,
    made_pairs,
    random_policy,
    training_spec,
    tutorial_gradient,
    tutorial_logprobs,
    with_training_columns,
)
from tasks import Exam
from transformers import LlamaForCausalLM

from rlhf.compute_rate import ComputeMeter
from rlhf.pair_logprobs import pair_logprobs
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.training_loop import backward_batch, count_response_tokens, count_tokens

LLAMA3_8B: dict[str, Any] = {
    **LLAMA3_8B_8_LAYERS,
    **ULTRAFEEDBACK,
    "vocabulary": 128_256,
    "pairs": 64,
    "padded": 4,
    "budget": 16_384,
}
SMALL: dict[str, Any] = {**SMALL_PAIRS, "layers": 2, "pairs": 4, "padded": 1, "budget": 64, "precision": "float32"}
WHOLE = 32
"""Layers of Llama-3-8B."""


class Workbench:
    """What is made once, when it is first asked for. The padded way needs the policy before it reads packs."""

    def __init__(self, exam: Exam) -> None:
        self.device = exam.device
        self.options = SMALL if exam.small else LLAMA3_8B
        self.spec = training_spec(self.options)

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        return with_training_columns(made_pairs(self.options))

    @functools.cached_property
    def policy(self) -> LlamaForCausalLM:
        return random_policy(self.options, self.device)

    @functools.cached_property
    def model(self) -> ResponseLogprobs:
        return ResponseLogprobs(self.policy, TEMPERATURE)

    @functools.cached_property
    def accelerator(self) -> Accelerator:
        AcceleratorState._reset_state(reset_partial_state=True)  # on a CPU, trainings went before in this process
        return Accelerator(cpu=self.device.type == "cpu", mixed_precision="bf16" if self.options["precision"] == "bfloat16" else "no")

    def logprobs(self) -> None:
        pair_logprobs(self.model, self.pairs, self.spec.precision, self.options["budget"])

    def gradient(self) -> None:
        """Of one batch, as training computes it, all but the optimizer's step."""
        self.policy.zero_grad(set_to_none=True)
        backward_batch(self.model, self.pairs, self.spec, self.accelerator, self.options["budget"])

    def gradient_with_prompts_twice(self) -> None:
        self.policy.zero_grad(set_to_none=True)
        gradient_apart(self.model, self.pairs, self.device, self.spec.precision, self.options["budget"])

    def padded_logprobs(self) -> None:
        tutorial_logprobs(self.policy, self.padded_pairs, self.device, self.spec.precision)

    def padded_gradient(self) -> None:
        self.policy.zero_grad(set_to_none=True)
        tutorial_gradient(self.policy, self.padded_pairs, self.device, self.spec.precision)

    @property
    def padded_pairs(self) -> list[Pair]:
        """Few: padded, every pair takes as long as any other."""
        return self.pairs[: self.options["padded"]]

    @property
    def tokens(self) -> int:
        return sum(map(count_tokens, self.pairs))

    def operations(self, *, backward: bool) -> float:
        """Of the matrix products that all pairs need, as `ComputeMeter` counts them, with the layers there are."""
        meter = ComputeMeter(self.policy, self.device, 1, adapters=False)
        meter.count(self.tokens, sum(map(count_response_tokens, self.pairs)))
        return meter.operations / (1 if backward else 3)

    def use_layers(self, layers: torch.nn.ModuleList) -> None:
        self.policy.model.layers = layers
        self.policy.config.num_hidden_layers = len(layers)
