"""NCA: raise the log-ratio of the chosen response, and keep that of both from rising far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def nca_loss(batch: PairBatch, beta: float) -> Tensor:
    """L(beta a) + 1/2 L(-beta a) + 1/2 L(-beta b) with L(x) = -log sigmoid(x)

    Chen et al., "Noise Contrastive Alignment of Language Models with Explicit Rewards" (2024), for preferences: each
    response is told from noise by itself, so that the chosen one does not become less likely.
    """
    chosen, rejected = beta * batch.chosen_logratio, beta * batch.rejected_logratio
    return -log_sigmoid(chosen) - (log_sigmoid(-chosen) + log_sigmoid(-rejected)) / 2


class NcaSettings(PairLoss):
    """NCA: raise the log-ratio of the chosen response, and keep that of both from rising far."""

    name: Literal["nca"] = "nca"
    """Noise contrastive alignment."""
    beta: Strength = 0.01
    """Strength of the regularisation towards the reference."""

    def loss(self, batch: PairBatch) -> Tensor:
        return nca_loss(batch, self.beta)
