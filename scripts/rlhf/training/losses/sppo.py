"""SPPO: regress each response's log-ratio onto its probability of winning against the policy's own responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def sppo_loss(batch: PairBatch, beta: float) -> Tensor:
    """1/2 [(a - (P_w - 1/2) / beta)^2 + (b - (P_l - 1/2) / beta)^2] / max(1, 1 / beta)

    Wu et al., "Self-Play Preference Optimization for Language Model Alignment" (2024), equation 4.3, where P estimates
    the probability of winning against the policy's own responses, and eta = 1 / beta. With beta = 1e-3 the plain square
    is of order 1e5; it is divided as REBEL's is, and `SppoSettings.reported_scale` undoes the division for the metrics.
    """
    scale = min(1.0, beta) ** 0.5
    chosen = scale * (batch.chosen_logratio - (batch.chosen_win_probability - 0.5) / beta)
    rejected = scale * (batch.rejected_logratio - (batch.rejected_win_probability - 0.5) / beta)
    return (chosen.square() + rejected.square()) / 2


class SppoSettings(PairLoss):
    """SPPO: regress each response's log-ratio onto its probability of winning against the policy's own responses."""

    needs_rewards: ClassVar[bool] = True
    name: Literal["sppo"] = "sppo"
    """Self-play preference optimization."""
    beta: Strength = 1.0e-3
    """Strength of the regularisation towards the reference; 1 / eta in the paper."""

    @property
    def reported_scale(self) -> float:
        return max(1.0, 1 / self.beta)

    def loss(self, batch: PairBatch) -> Tensor:
        return sppo_loss(batch, self.beta)
