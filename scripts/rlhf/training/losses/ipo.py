"""IPO: regress the difference of the log-ratios onto a constant."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def ipo_loss(batch: PairBatch, tau: float, per_token: bool) -> Tensor:
    """(a / |y_w| - b / |y_l| - 1 / (2 tau))^2, or (a - b - 1 / (2 tau))^2 unless `per_token`

    Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences" (2023), equation 17,
    which has the sums; the per-token means are what its authors use.
    """
    margin = batch.margin_per_token if per_token else batch.chosen_logratio - batch.rejected_logratio
    return (margin - 1 / (2 * tau)).square()


class IpoSettings(PairLoss):
    """IPO: regress the difference of the log-ratios onto a constant."""

    margin_meaning: ClassVar[str] = "log-ratio of chosen less that of rejected; means over tokens if `per_token`"
    name: Literal["ipo"] = "ipo"
    """Identity preference optimization."""
    tau: Strength = 0.1
    """Strength of the regularisation towards the reference: the target of the difference is 1 / (2 tau)."""
    per_token: bool = True
    """Average the log-ratios over the response's tokens; false sums them."""

    def margin(self, batch: PairBatch) -> Tensor:
        return batch.margin_per_token if self.per_token else super().margin(batch)

    def loss(self, batch: PairBatch) -> Tensor:
        return ipo_loss(batch, self.tau, self.per_token)
