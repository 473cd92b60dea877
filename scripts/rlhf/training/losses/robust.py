"""Robust DPO: the loss of DPO, corrected for preferences that are flipped at a known rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def robust_loss(batch: PairBatch, beta: float, label_smoothing: float) -> Tensor:
    """[(1 - e) L(beta (a - b)) - e L(-beta (a - b))] / (1 - 2 e) with L(x) = -log sigmoid(x)

    Chowdhury et al., "Provably Robust DPO: Aligning Language Models with Noisy Feedback" (2024). If a fraction e of the
    preferences is flipped, its expected value is DPO's loss of the true preferences. It falls below zero without bound.
    """
    margin = beta * (batch.chosen_logratio - batch.rejected_logratio)
    loss = label_smoothing * log_sigmoid(-margin) - (1 - label_smoothing) * log_sigmoid(margin)
    return loss / (1 - 2 * label_smoothing)


class RobustSettings(PairLoss):
    """Robust DPO: the loss of DPO, corrected for preferences that are flipped at a known rate."""

    name: Literal["robust"] = "robust"
    """Robust direct preference optimization."""
    beta: Strength = 0.01
    """Strength of the regularisation towards the reference."""
    label_smoothing: float = Field(0.1, ge=0, lt=0.5)
    """Fraction of the preferences that is assumed to be flipped."""

    def loss(self, batch: PairBatch) -> Tensor:
        return robust_loss(batch, self.beta, self.label_smoothing)
