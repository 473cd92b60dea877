"""The optimizer of a training and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from rlhf.training.settings import RecipeSettings


def make_optimizer(model: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """AdamW of the weights that are trained; of 8 bits, its moments take a quarter of the memory (Dettmers et al.,
    "8-bit Optimizers via Block-wise Quantization", 2021)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind: Any = torch.optim.AdamW
    options: dict[str, Any] = {}
    if recipe.optimizer == "adamw_8bit":
        import bitsandbytes.optim  # slow, and seldom asked for

        kind = bitsandbytes.optim.AdamW8bit
    else:
        # One kernel on GPUs: other forms hold a copy of all weights during the step.
        options["fused"] = trained[0].is_cuda
    return kind(
        trained,
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        **options,
    )


def scheduled_learning_rate(recipe: RecipeSettings, step: int, total: int) -> float:
    """Linear warm-up over the first share of the steps, then a cosine to zero after the last one.

    Args:
        step: 1 for the first optimizer step, `total` for the last.
    """
    warmup = math.ceil(recipe.warmup * total)
    if step <= warmup:
        return recipe.learning_rate * (step / warmup)
    done = (step - 1 - warmup) / (total - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
