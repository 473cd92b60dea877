"""Hinge loss (SLiC) on the difference of the log-ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def hinge_loss(batch: PairBatch, beta: float) -> Tensor:
    """max(0, 1 - beta (a - b))

    Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback" (2023), equation 1, with log-ratios in
    place of log-probabilities.
    """
    return (1 - beta * (batch.chosen_logratio - batch.rejected_logratio)).clamp(min=0)


class HingeSettings(PairLoss):
    """Hinge loss (SLiC) on the difference of the log-ratios."""

    name: Literal["hinge"] = "hinge"
    """Hinge loss, as in SLiC."""
    beta: Strength = 0.01
    """Slope: the loss is zero where the difference exceeds 1 / beta."""

    def loss(self, batch: PairBatch) -> Tensor:
        return hinge_loss(batch, self.beta)
