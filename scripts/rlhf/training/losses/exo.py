"""EXO: the reverse KL divergence from the policy's preference between the two responses to the given one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def exo_loss(batch: PairBatch, beta: float, label_smoothing: float) -> Tensor:
    """p log(p / (1 - e)) + (1 - p) log((1 - p) / e) with p = sigmoid(beta (a - b))

    Ji et al., "Towards Efficient Exact Optimization of Language Model Alignment" (2024), equation 16, for
    two responses. DPO minimises the divergence in the other direction.
    """
    margin = beta * (batch.chosen_logratio - batch.rejected_logratio)
    chosen = margin.sigmoid() * (log_sigmoid(margin) - math.log1p(-label_smoothing))
    return chosen + (-margin).sigmoid() * (log_sigmoid(-margin) - math.log(label_smoothing))


class ExoSettings(PairLoss):
    """EXO: the reverse KL divergence from the policy's preference between the two responses to the given one."""

    name: Literal["exo"] = "exo"
    """Efficient exact optimization."""
    beta: Strength = 0.1
    """Strength of the regularisation towards the reference."""
    label_smoothing: float = Field(1.0e-3, ge=1e-9, lt=0.5)
    """Probability, by the preference, that the rejected response is the better one; by default the paper's."""

    def loss(self, batch: PairBatch) -> Tensor:
        return exo_loss(batch, self.beta, self.label_smoothing)
