"""Weights that are not trained, in the type in which they are multiplied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from rlhf.base.settings import Precision
from rlhf.logprobs.head import TokenLogprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def store_frozen_matrices(policy: PreTrainedModel, precision: Precision) -> None:
    """Keep the matrices that are not trained in the precision of the computation, in place.

    Autocast rounds a float32 matrix at every use, and keeps each rounded copy for the backward pass: of an 8B model 28
    GB of weights and 14 GB of copies. A matrix that nobody trains is rounded once: the products are the same to the
    last bit. Norms and the embedding stay float32: autocast does not round those.
    """
    embedding = policy.get_input_embeddings().weight
    for module in policy.modules():
        if not isinstance(module, nn.Linear | TokenLogprobs) or module.weight.requires_grad:
            continue
        if module.weight is not embedding:
            module.weight.data = module.weight.data.to(getattr(torch, precision))
