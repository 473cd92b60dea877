"""A policy's head and the log-softmax behind it as one function: its memory grows with neither vocabulary nor length.

Logits exist for a chunk of tokens at a time. The backward pass computes them again, and makes the gradient in their
place: of s = log softmax(z)[y] it is ds/dz = onehot(y) - softmax(z).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LARGEST_CHUNK = 1024
"""Tokens whose logits exist at once."""
CPU_CHUNK_BYTES = 128 * 2**20
"""Of logits at once on a CPU, where more is no faster."""


class TokenLogprobs(nn.Module):
    """A policy's head, which gives log-probabilities of tokens in place of logits. Its weights keep their names.

    One call for all chunks: ZeRO-3 gathers the weights of a module once per call, in every process.
    """

    def __init__(self, head: nn.Linear, temperature: float) -> None:
        super().__init__()
        self.weight = head.weight
        self.bias = head.bias
        self.temperature = temperature

    def forward(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(tokens, width) and the tokens' ids to log softmax(logits / temperature) of these ids, float32 (tokens,).

        The products are in autocast's type where that is on, and all that follows is float32.
        """
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        logprobs: torch.Tensor = _ChunkedLogprobs.apply(
            hidden, self.weight, self.bias, targets, self.temperature, dtype
        )
        return logprobs


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        normalizers = torch.empty(len(targets), device=hidden.device)
        logprobs = torch.empty_like(normalizers)
        for part, logits, _ in _chunks(hidden, weight, bias, temperature, dtype):
            logprobs[part] = logits.gather(1, targets[part, None])[:, 0]
            highest = logits.amax(1, keepdim=True)
            normalizers[part] = logits.sub_(highest).exp_().sum(1).log_() + highest[:, 0]
        context.save_for_backward(hidden, weight, bias, targets, normalizers)
        context.temperature, context.dtype = temperature, dtype
        return logprobs.sub_(normalizers)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, normalizers = context.saved_tensors
        of_hidden = torch.empty_like(hidden)
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if context.needs_input_grad[1] else None
        of_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        products = weight.to(context.dtype)
        for part, logits, inputs in _chunks(hidden, weight, bias, context.temperature, context.dtype):
            share = gradient[part, None]
            of_logits = logits.sub_(normalizers[part, None]).exp_().mul_(-share)
            of_logits.scatter_add_(1, targets[part, None], share)
            if of_bias is not None:
                of_bias += of_logits.sum(0) / context.temperature
            of_logits = of_logits.to(context.dtype)
            of_hidden[part] = (of_logits @ products) / context.temperature
            if of_weight is not None and context.dtype == of_weight.dtype:
                of_weight.addmm_(of_logits.T, inputs)  # a product by itself would take as much memory again
            elif of_weight is not None:
                of_weight += of_logits.T @ inputs
        return (
            of_hidden,
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None else of_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def _chunks(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, temperature: float, dtype: torch.dtype
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Which tokens; their logits / temperature, float32 (tokens, vocabulary), to be overwritten; the head's inputs."""
    step = LARGEST_CHUNK
    if hidden.device.type == "cpu":
        step = max(1, min(step, CPU_CHUNK_BYTES // (4 * len(weight))))
    with torch.autocast(hidden.device.type, enabled=False):
        inputs = (hidden / temperature).to(dtype)
        products, offset = weight.to(dtype), None if bias is None else (bias / temperature).to(dtype)
        for start in range(0, len(hidden), step):
            part = slice(start, start + step)
            yield part, functional.linear(inputs[part], products, offset).float(), inputs[part]
