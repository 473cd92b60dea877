"""REBEL: regress the difference of the log-ratios onto the difference of the rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def rebel_loss(batch: PairBatch, eta: float) -> Tensor:
    """((a - b) - eta (r_w - r_l))^2 / max(1, eta)

    Gao et al., "REBEL: Reinforcement Learning via Regressing Relative Rewards" (2024), equation 9, in the form of its
    published code, where eta multiplies the rewards. With its eta of 1e6 the plain square is of order 1e10; divided by
    eta, its gradient is of order one. `RebelSettings.reported_scale` undoes the division for the metrics.
    """
    residual = (batch.chosen_logratio - batch.rejected_logratio) - eta * (batch.chosen_reward - batch.rejected_reward)
    return (residual / max(1.0, eta) ** 0.5).square()


class RebelSettings(PairLoss):
    """REBEL: regress the difference of the log-ratios onto the difference of the rewards."""

    needs_rewards: ClassVar[bool] = True
    name: Literal["rebel"] = "rebel"
    """Regression onto relative rewards."""
    eta: float = Field(1.0e6, ge=1e-6, le=1e12)
    """Weight of the reward difference: larger values follow the rewards more and stay less close to the reference."""

    @property
    def reported_scale(self) -> float:
        return max(1.0, self.eta)

    def loss(self, batch: PairBatch) -> Tensor:
        return rebel_loss(batch, self.eta)
