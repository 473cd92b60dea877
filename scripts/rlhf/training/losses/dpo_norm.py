"""Length-normalised DPO: logistic loss on the difference of the per-token log-ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


def dpo_norm_loss(batch: PairBatch, beta: float) -> Tensor:
    """-log sigmoid(beta (a / |y_w| - b / |y_l|))

    Lambert et al., "Tulu 3: Pushing Frontiers in Open Language Model Post-Training" (2024): DPO, normalised by length.
    """
    return -log_sigmoid(beta * batch.margin_per_token)


class DpoNormSettings(PairLoss):
    """Length-normalised DPO (Tulu 3): logistic loss on the difference of the per-token log-ratios."""

    margin_meaning: ClassVar[str] = "mean log-ratio of a token of chosen less that of rejected"
    name: Literal["dpo_norm"] = "dpo_norm"
    """Length-normalised direct preference optimization."""
    beta: Strength = 5.0
    """Strength of the regularisation towards the reference; per token, so about a hundred times that of `dpo`."""

    def margin(self, batch: PairBatch) -> Tensor:
        return batch.margin_per_token

    def loss(self, batch: PairBatch) -> Tensor:
        return dpo_norm_loss(batch, self.beta)
