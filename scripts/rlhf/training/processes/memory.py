"""Does the training fit the GPUs, and can it save its state in time: asked before the policy is loaded."""

from __future__ import annotations

import logging

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from rlhf.machine.budgets import training_budget
from rlhf.machine.choices import Activations, BudgetChoice, Strategy
from rlhf.machine.memory import TrainingSetup
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.saving import short_notice
from rlhf.training.compute_rate import peak_rate
from rlhf.training.settings import TrainSpec

LOGGER = logging.getLogger("train_policy")


def training_setup(spec: TrainSpec, strategy: Strategy, processes: int, activations: Activations) -> TrainingSetup:
    """What decides how much memory the training takes, and how large its saved states are."""
    return TrainingSetup(
        strategy=strategy,
        processes=processes,
        activations=activations,
        precision=spec.precision,
        optimizer=spec.recipe.optimizer,
        lora_rank=spec.recipe.lora.rank if spec.recipe.lora else None,
    )


def common_budget(
    asked: BudgetChoice, shape: ModelShape | None, setup: TrainingSetup, longest: int, accelerator: Accelerator
) -> int:
    """Tokens of a pack, the same in all processes: the smallest of what fits each one's GPU.

    Args:
        longest: tokens of the longest pair.

    Raises:
        UserError: the training does not fit the GPU of this process.
    """
    return min(gather_object([training_budget(asked, accelerator.device, shape, setup, longest)]))


def warn_of_short_notice(
    stop_seconds: int,
    shape: ModelShape,
    setup: TrainingSetup,
    tokens: int,
    validation_tokens: int,
    device: torch.device,
) -> None:
    """Log a warning if a training that is asked to end could be killed before its state is saved.

    Args:
        tokens: of the longest step.
        validation_tokens: of a validation.
    """
    if warning := short_notice(stop_seconds, shape, setup, tokens, validation_tokens, peak_rate(device)):
        LOGGER.warning(warning)
