"""SPPO: regress each log-ratio on the response's probability to win against the policy's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def sppo_loss(batch: PairBatch, beta: float) -> Tensor:
    """1/2 [(a - (P_w - 1/2) / beta)^2 + (b - (P_l - 1/2) / beta)^2] / max(1, 1 / beta)

    Wu et al., "Self-Play Preference Optimization for Language Model Alignment" (2024), equation 4.3, where P estimates
    the probability to win against the policy's own responses and eta = 1 / beta. The plain square of beta = 1e-3 is of
    order 1e5; it is divided as REBEL's is, and `SppoSettings.reported_scale` undoes that in what is logged.
    """
    scale = min(1.0, beta) ** 0.5
    chosen = scale * (batch.chosen_logratio - (batch.chosen_win_probability - 0.5) / beta)
    rejected = scale * (batch.rejected_logratio - (batch.rejected_win_probability - 0.5) / beta)
    return (chosen.square() + rejected.square()) / 2


class SppoSettings(PairLoss):
    """SPPO: regress each log-ratio on the response's probability to win against the policy's own."""

    name: Literal["sppo"] = "sppo"
    """SPPO."""
    beta: Strength = 1.0e-3
    """Strength of the tie to the reference; its inverse is the paper's eta."""

    @property
    def reported_scale(self) -> float:
        return max(1.0, 1 / self.beta)

    def loss(self, batch: PairBatch) -> Tensor:
        return sppo_loss(batch, self.beta)
