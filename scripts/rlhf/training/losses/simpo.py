"""SimPO: logistic loss on the difference of the mean per-token log-probabilities; no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, ReferenceFreeLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def simpo_loss(batch: PairBatch, beta: float, gamma: float) -> Tensor:
    """-log sigmoid(beta (log pi(y_w | x) / |y_w| - log pi(y_l | x) / |y_l|) - gamma)

    Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward" (2024), equation 6.
    """
    chosen = batch.chosen_logprob / batch.chosen_tokens
    rejected = batch.rejected_logprob / batch.rejected_tokens
    return -log_sigmoid(beta * (chosen - rejected) - gamma)


class SimpoSettings(ReferenceFreeLoss):
    """SimPO: logistic loss on the difference of the mean per-token log-probabilities; no reference."""

    name: Literal["simpo"] = "simpo"
    """Simple preference optimization."""
    beta: Strength = 10.0
    """Scale of the difference of the mean per-token log-probabilities."""
    gamma: float = Field(3.0, ge=0, le=1e6)
    """Target margin by which the chosen response should win, after scaling by `beta`."""

    def loss(self, batch: PairBatch) -> Tensor:
        return simpo_loss(batch, self.beta, self.gamma)
