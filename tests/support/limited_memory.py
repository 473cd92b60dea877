"""A stand-in for a GPU's allocator: packs above a number of tokens do not fit."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch.autograd.function import once_differentiable

from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.tokens.packing import Pack


class LimitedMemory:
    """Room for packs of `tokens`; a larger one raises what CUDA's allocator raises.

    Attributes:
        packs: tokens of each pack that was tried.
    """

    def __init__(self, tokens: int, where: Literal["forward", "backward"] = "forward", full_from: int = 0) -> None:
        """Args: full_from: number of first packs that fit regardless of size."""
        self.tokens, self.where, self.full_from = tokens, where, full_from
        self.packs: list[int] = []

    def fits(self, pack: Pack) -> bool:
        self.packs.append(pack.input_ids.numel())
        return self.packs[-1] <= self.tokens or len(self.packs) <= self.full_from

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Limit every `ResponseLogprobs`."""
        whole = ResponseLogprobs.forward

        def forward(model: ResponseLogprobs, pack: Pack, expected: bool = False) -> torch.Tensor:
            fits = self.fits(pack)
            if not fits and (self.where == "forward" or not torch.is_grad_enabled()):
                run_out()
            found = whole(model, pack, expected)
            return found if fits else _RunOutInBackward.apply(found)

        patch.setattr(ResponseLogprobs, "forward", forward)


def run_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


class _RunOutInBackward(torch.autograd.Function):
    """Memory runs out halfway through the backward pass: after the head, for example, and before the layers."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        run_out()
        return gradient
