"""KTO: raise the log-ratio of desirable responses over a reference point, and lower that of undesirable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.units.example_loss import ExampleBatch, ExampleLoss

if TYPE_CHECKING:
    from torch import Tensor


def kto_loss(batch: ExampleBatch, beta: float, desirable_weight: float, undesirable_weight: float) -> Tensor:
    """w_D (1 - sigmoid(beta (r - z))) of a desirable response, w_U (1 - sigmoid(beta (z - r))) of an undesirable one

    r is the log-ratio of the response, and z = max(0, mean log-ratio of mismatched responses) over the batch.
    Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization" (2024), equation 8.
    """
    above = beta * (batch.logratio - batch.reference_point)
    desirable = desirable_weight * (-above).sigmoid()
    return desirable.where(batch.desirable, undesirable_weight * above.sigmoid())


class KtoSettings(ExampleLoss):
    """KTO: raise the log-ratio of desirable responses over a reference point, and lower that of undesirable ones.

    It needs no pairs, but thresholds of the reward (`examples`). The reference point is how far the policy has moved
    from its reference, measured on responses to other prompts.
    """

    name: Literal["kto"] = "kto"
    """Kahneman-Tversky optimization."""
    beta: Strength = 0.1
    """Scale of the log-ratios inside the sigmoids."""
    desirable_weight: Strength = 1.0
    """Weight of desirable examples. Together, the two kinds should weigh about as much as each other."""
    undesirable_weight: Strength = 1.0
    """Weight of undesirable examples."""

    def loss(self, batch: ExampleBatch) -> Tensor:
        return kto_loss(batch, self.beta, self.desirable_weight, self.undesirable_weight)
