"""AdamW, with its moments in float32 or in 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rlhf.training.settings import RecipeSettings


def make_optimizer(model: nn.Module, recipe: RecipeSettings) -> torch.optim.Optimizer:
    """AdamW over the parameters that require a gradient.

    In 8 bits its moments take a quarter of the memory (Dettmers et al., "8-bit Optimizers via Block-wise
    Quantization", 2021).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind: Any = torch.optim.AdamW
    options: dict[str, Any] = {}
    if recipe.optimizer == "adamw_8bit":
        import bitsandbytes.optim  # slow to import, and rarely used

        kind = bitsandbytes.optim.AdamW8bit
    else:
        # One kernel on GPUs: the other implementations hold a copy of all weights during the step.
        options["fused"] = trained[0].is_cuda
    return kind(
        trained,
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
        **options,
    )
