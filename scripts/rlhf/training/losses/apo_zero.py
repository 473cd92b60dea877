"""APO-zero: raise the log-ratio of the chosen response and lower that of the rejected one, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def apo_zero_loss(batch: PairBatch, beta: float) -> Tensor:
    """1 - sigmoid(beta a) + sigmoid(beta b)

    D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions" (2024), equation 4 (APO-zero).
    """
    return 1 - (beta * batch.chosen_logratio).sigmoid() + (beta * batch.rejected_logratio).sigmoid()


class ApoZeroSettings(PairLoss):
    """APO-zero: raise the log-ratio of the chosen response and lower that of the rejected one, each on its own."""

    name: Literal["apo_zero"] = "apo_zero"
    """Anchored preference optimization, variant zero."""
    beta: Strength = 0.05
    """Scale of the log-ratios inside the sigmoids."""

    def loss(self, batch: PairBatch) -> Tensor:
        return apo_zero_loss(batch, self.beta)
