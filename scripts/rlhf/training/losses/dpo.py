"""DPO: logistic loss on the difference of the log-ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def dpo_loss(batch: PairBatch, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """(1 - e) L(beta (a - b)) + e L(-beta (a - b)) with L(x) = -log sigmoid(x)

    Rafailov et al., "Direct Preference Optimization" (2023), equation 7; label smoothing e, for a fraction e of flipped
    preferences: Mitchell, "A note on DPO with noisy preferences" (2023), equation 3.
    """
    margin = beta * (batch.chosen_logratio - batch.rejected_logratio)
    return -(1 - label_smoothing) * log_sigmoid(margin) - label_smoothing * log_sigmoid(-margin)


class DpoSettings(PairLoss):
    """DPO: logistic loss on the difference of the log-ratios."""

    name: Literal["dpo"] = "dpo"
    """Direct preference optimization."""
    beta: Strength = 0.01
    """Strength of the regularisation towards the reference."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Fraction of the preferences that is assumed to be flipped."""

    def loss(self, batch: PairBatch) -> Tensor:
        return dpo_loss(batch, self.beta, self.label_smoothing)
