"""Frozen weights, stored in the dtype of the computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from rlhf.base.settings import Precision
from rlhf.logprobs.head import TokenLogprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def store_frozen_matrices(policy: PreTrainedModel, precision: Precision) -> None:
    """Convert the frozen weight matrices to the precision of the computation, in place.

    Autocast rounds a float32 matrix at every use and keeps the rounded copies for the backward pass: for an 8B model,
    28 GB of weights and 14 GB of copies. Rounding a frozen matrix once gives bitwise identical products. Norms and the
    embedding stay float32, since autocast does not round them.
    """
    embedding = policy.get_input_embeddings().weight
    for module in policy.modules():
        if not isinstance(module, nn.Linear | TokenLogprobs) or module.weight.requires_grad:
            continue
        if module.weight is not embedding:
            module.weight.data = module.weight.data.to(getattr(torch, precision))
