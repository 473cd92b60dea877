"""The parent as the model that is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.responses import ResponseLogprobs, checked_logprobs, checkpoint_activations
from rlhf.machine.memory import ROUNDS_FROZEN_WEIGHTS, TrainingSetup
from rlhf.training.adapters import add_adapters
from rlhf.training.settings import TrainSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def trainable(policy: PreTrainedModel, spec: TrainSpec, setup: TrainingSetup) -> ResponseLogprobs:
    """Prepare a policy for training, in place: adapters, activation checkpointing, rounded frozen weights.

    Each only if it is asked for. Every process must call this.

    Raises:
        UserError: the model cannot be computed in packs, see `checked_logprobs`.
    """
    if spec.recipe.lora:
        add_adapters(policy, spec.recipe.lora)
    if setup.activations == "recompute":
        checkpoint_activations(policy)
    model = checked_logprobs(policy, spec.temperature)
    if setup.strategy in ROUNDS_FROZEN_WEIGHTS:
        store_frozen_matrices(policy, spec.precision)
    return model
