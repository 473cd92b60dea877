"""A head like `rlhf.logprobs.head` whose logits stay bfloat16; what is computed from them in float32 is compiled.

Only matrix products and these compiled functions touch a tile of logits, and each function reads it once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

TILE_TOKENS = 4096
"""Tokens whose logits exist at the same time: more than with float32 logits, in the same memory."""


class Pieces(NamedTuple):
    """The functions of a tile of logits."""

    forward: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    backward: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def compiled_pieces(backend: str) -> Pieces:
    return Pieces(*(torch.compile(piece, backend=backend) for piece in (target_and_normalizer, rest_of)))


def target_and_normalizer(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From (tokens, vocabulary) to the targets' logits and the log-sum-exp, float32 (tokens,)."""
    numbers = logits.float()
    highest = numbers.amax(1)
    normalizer = (numbers - highest[:, None]).exp().sum(1).log() + highest
    return numbers.gather(1, targets[:, None])[:, 0], normalizer


def rest_of(logits: torch.Tensor, normalizer: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """softmax - onehot, in the dtype of the logits."""
    columns = torch.arange(logits.shape[1], device=logits.device)
    probabilities = (logits.float() - normalizer[:, None]).exp()
    return (probabilities - (columns == targets[:, None]).float()).to(logits.dtype)


class CompiledHead(nn.Module):
    """Like `TokenLogprobs`, for a head without a bias, under autocast."""

    def __init__(self, head: nn.Linear, temperature: float, pieces: Pieces) -> None:
        super().__init__()
        self.weight = head.weight
        self.temperature = temperature
        self.pieces = pieces

    def forward(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logprobs: torch.Tensor = _Function.apply(hidden, self.weight, targets, self.temperature, self.pieces)
        return logprobs


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        temperature: float,
        pieces: Pieces,
    ) -> torch.Tensor:
        own, normalizer = (torch.empty(len(targets), device=hidden.device) for _ in range(2))
        inputs, rows = (hidden / temperature).bfloat16(), weight.bfloat16()
        for tokens in _tiles(len(targets)):
            own[tokens], normalizer[tokens] = pieces.forward(inputs[tokens] @ rows.T, targets[tokens])
        context.save_for_backward(hidden, weight, targets, normalizer)
        context.temperature, context.pieces = temperature, pieces
        return own - normalizer

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, targets, normalizer = context.saved_tensors
        inputs, rows = (hidden / context.temperature).bfloat16(), weight.bfloat16()
        scale = -gradient[:, None] / context.temperature
        scaled = (hidden * scale).bfloat16()
        of_hidden = torch.empty_like(hidden)
        of_weight = torch.zeros_like(weight)
        for tokens in _tiles(len(targets)):
            rest = context.pieces.backward(inputs[tokens] @ rows.T, normalizer[tokens], targets[tokens])
            of_hidden[tokens] = (rest @ rows) * scale[tokens]
            of_weight += rest.T @ scaled[tokens]
        return of_hidden, of_weight, None, None, None


def _tiles(tokens: int) -> list[slice]:
    return [slice(start, min(start + TILE_TOKENS, tokens)) for start in range(0, tokens, TILE_TOKENS)]
