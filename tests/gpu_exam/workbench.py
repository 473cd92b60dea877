"""A policy of Llama-3-8B's layer shapes and pairs of UltraFeedback's lengths, and the work that is timed with them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM

from cases import LLAMA3_8B_8_LAYERS, SMALL_PAIRS, ULTRAFEEDBACK
from preference_pairs import (
    TEMPERATURE,
    gradient_apart,
    made_pairs,
    random_policy,
    training_spec,
    tutorial_gradient,
    tutorial_logprobs,
)
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.memory import TrainingSetup, training_memory, usable
from rlhf.machine.model_shapes import ModelShape
from rlhf.pairs.schema import Pair
from rlhf.training.compute_rate import ComputeMeter
from rlhf.training.loop import backward_batch, count_response_tokens, count_tokens
from tasks import Exam
from training_rows import one_process

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
MOST_LAYERS = 12
"""More take longer and say no more."""
PROMPTS_TWICE = 1.2
"""Tokens of a pack in which each response has its prompt before it, by those of one with shared prompts."""


def options_of(exam: Exam) -> dict[str, Any]:
    """Sizes of the policy, of the pairs and of the packs."""
    return dict(SMALL if exam.small else LLAMA3_8B)


def shape_of(options: dict[str, Any]) -> ModelShape:
    """The policy of `random_policy` in the words of the memory model."""
    return ModelShape(
        layers=options["layers"],
        hidden=options["hidden"],
        intermediate=options.get("intermediate", options["hidden"] * 11 // 4),
        heads=options["heads"],
        key_heads=options.get("key_heads", options["heads"] // 2),
        head_width=options["hidden"] // options["heads"],
        vocabulary=options["vocabulary"],
        context=8192,
    )


def layers_that_fit(exam: Exam, setup: TrainingSetup, tokens: int, *, moments: bool) -> int:
    """How many layers of the policy the memory model gives to this GPU.

    Args:
        tokens: of the largest pack.
        moments: whether there is an optimizer.
    """
    options = options_of(exam)
    if exam.device.type == "cpu":
        return int(options["layers"])
    limit = usable(torch.cuda.mem_get_info(exam.device)[0])
    for layers in range(MOST_LAYERS, 2, -1):
        use = training_memory(shape_of({**options, "layers": layers}), setup, tokens)
        if use.total - (0 if moments else use.moments) <= limit:
            return layers
    return 2


class Workbench:
    """What is made once, when it is first asked for. The padded way needs the policy before it reads packs."""

    def __init__(self, exam: Exam) -> None:
        self.device = exam.device
        self.options = options_of(exam)
        tokens = int(PROMPTS_TWICE * self.options["budget"])
        keep = TrainingSetup("single", 1, "keep", "bfloat16")
        self.options["layers"] = layers_that_fit(exam, keep, tokens, moments=False)
        self.spec = training_spec(self.options)

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        return made_pairs(self.options)

    @functools.cached_property
    def policy(self) -> LlamaForCausalLM:
        return random_policy(self.options, self.device)

    @functools.cached_property
    def model(self) -> ResponseLogprobs:
        return ResponseLogprobs(self.policy, TEMPERATURE)

    @functools.cached_property
    def accelerator(self) -> Accelerator:
        return one_process("single", self.spec, self.device)

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
