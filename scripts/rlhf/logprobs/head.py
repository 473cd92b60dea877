"""Output head and log-softmax fused into one function, whose memory grows with neither vocabulary nor length.

Logits are computed in tiles of some tokens and a slice of the vocabulary. The backward pass recomputes each tile and
overwrites it with its gradient: for s = log softmax(z)[y], ds/dz = onehot(y) - softmax(z).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

TILE_TOKENS = 1024
"""Tokens per tile."""
CPU_TILE_VOCABULARY = 2048
"""Vocabulary slice of a tile on the CPU, so that a tile stays in cache. On GPUs a tile has the whole vocabulary."""


class TokenLogprobs(nn.Module):
    """A policy's output head that returns log-probabilities of given tokens instead of logits; keeps parameter names.

    All tiles are computed in one call, since ZeRO-3 gathers the weights of a module once per call, in every process.
    """

    def __init__(self, head: nn.Linear, temperature: float) -> None:
        super().__init__()
        self.weight = head.weight
        self.bias = head.bias
        self.temperature = temperature

    def forward(self, hidden: torch.Tensor, targets: torch.Tensor, expected: bool = False) -> torch.Tensor:
        """Log-probabilities log softmax(logits / temperature)[target] of the targets, float32 (tokens,).

        Matrix products use autocast's dtype if it is enabled; everything after them is float32.

        Args:
            hidden: final hidden states, (tokens, hidden size).
            targets: token IDs, int64 (tokens,).
            expected: also return log sum_v p(v)^2 for each token, the log of the expected probability of a token that
                is sampled there, without a gradient: (tokens, 2).
        """
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        inputs = (hidden, self.weight, self.bias, targets, self.temperature, dtype)
        logprobs: torch.Tensor
        logprobs, log_squares = _TiledLogprobs.apply(*inputs, expected)
        return torch.stack([logprobs, log_squares], 1) if expected else logprobs


class _TiledLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        dtype: torch.dtype,
        expected: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits_of_targets = torch.zeros(len(targets), device=hidden.device)
        normalizers = torch.full_like(logits_of_targets, -torch.inf)
        log_squares = torch.full_like(normalizers, -torch.inf) if expected else None
        for tile in _tiles(hidden, weight, bias, targets, temperature, dtype):
            own = tile.logits.gather(1, tile.columns[:, None])[:, 0]
            logits_of_targets[tile.tokens] += own.where(tile.holds_target, 0.0)
            highest, powers = _powers(tile.logits)
            normalizers[tile.tokens] = torch.logaddexp(normalizers[tile.tokens], powers.sum(1).log_() + highest)
            if log_squares is not None:
                norms = torch.linalg.vector_norm(powers, dim=1)
                log_squares[tile.tokens] = torch.logaddexp(log_squares[tile.tokens], 2 * (norms.log_() + highest))
        context.save_for_backward(hidden, weight, bias, targets, normalizers)
        context.temperature, context.dtype = temperature, dtype
        if log_squares is not None:
            log_squares.sub_(normalizers, alpha=2)
            context.mark_non_differentiable(log_squares)
        return logits_of_targets.sub_(normalizers), log_squares

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor, _: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, normalizers = context.saved_tensors
        temperature, dtype = context.temperature, context.dtype
        of_hidden = torch.zeros_like(hidden, dtype=torch.float32)
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if context.needs_input_grad[1] else None
        of_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        scale = -gradient[:, None] / temperature  # gradient factor of the logits before the temperature
        inputs = (hidden * scale).to(dtype)
        for tile in _tiles(hidden, weight, bias, targets, temperature, dtype):
            rest = tile.logits.sub_(normalizers[tile.tokens, None]).exp_()  # softmax(z) - onehot(y), in place
            rest.scatter_add_(1, tile.columns[:, None], -tile.holds_target[:, None].float())
            if of_bias is not None:
                of_bias[tile.vocabulary] += rest.T @ scale[tile.tokens, 0]
            rest = rest.to(dtype)
            if dtype == torch.float32:  # a separate product would need memory of its own
                of_hidden[tile.tokens].addmm_(rest, tile.weight)
                if of_weight is not None:
                    of_weight[tile.vocabulary].addmm_(rest.T, inputs[tile.tokens])
            else:
                of_hidden[tile.tokens] += rest @ tile.weight
                if of_weight is not None:
                    of_weight[tile.vocabulary] += rest.T @ inputs[tile.tokens]
        return (
            of_hidden.mul_(scale).to(hidden.dtype),
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None else of_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


class _Tile(NamedTuple):
    """Logits of some tokens for a slice of the vocabulary."""

    tokens: slice
    vocabulary: slice
    logits: torch.Tensor
    """Divided by the temperature, float32 (tokens, slice); may be overwritten."""
    weight: torch.Tensor
    """The head's rows of this slice."""
    columns: torch.Tensor
    """Column of each target in `logits`, int64 (tokens,); arbitrary if the target is outside the slice."""
    holds_target: torch.Tensor
    """Whether the target is in the slice, bool (tokens,)."""


def _tiles(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    temperature: float,
    dtype: torch.dtype,
) -> Iterator[_Tile]:
    width = CPU_TILE_VOCABULARY if hidden.device.type == "cpu" else len(weight)
    with torch.autocast(hidden.device.type, enabled=False):
        inputs = (hidden / temperature).to(dtype)
        rows, offset = weight.to(dtype), None if bias is None else (bias / temperature).to(dtype)
        for tokens in _slices(len(hidden), TILE_TOKENS):
            for vocabulary in _slices(len(weight), width):
                part = None if offset is None else offset[vocabulary]
                logits = functional.linear(inputs[tokens], rows[vocabulary], part).float()
                places = targets[tokens] - vocabulary.start
                columns = places.clamp(0, logits.shape[1] - 1)
                yield _Tile(tokens, vocabulary, logits, rows[vocabulary], columns, places == columns)


def _slices(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _powers(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest logit z of each row, (rows,), and exp(logits - z), which overwrites `logits`."""
    highest = logits.amax(1, keepdim=True)
    return highest[:, 0], logits.sub_(highest).exp_()
