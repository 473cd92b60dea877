"""The optimizer of all models of the tiny world."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

WARM_UP = 0.1
CLIP = 1.0


class Optimizer:
    """AdamW with a linear warm-up, a cosine to zero, and clipping of the gradient's norm."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float, steps: int) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.total, self.peak = max(steps, 1), learning_rate
        self.adam = torch.optim.AdamW(self.parameters, lr=self.peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.done = 0

    def step(self, loss: Tensor) -> None:
        """One update."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        for group in self.adam.param_groups:
            group["lr"] = self.peak * _schedule(self.done / self.total)
        self.adam.step()
        self.done += 1


def _schedule(progress: float) -> float:
    """Learning rate relative to its peak."""
    if progress < WARM_UP:
        return progress / WARM_UP + 0.01
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
