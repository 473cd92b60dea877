"""Supervised fine-tuning on the chosen response; no reference, and no rejected response."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rlhf.training.loss import PairBatch, PairLoss

if TYPE_CHECKING:
    from torch import Tensor


def sft_loss(batch: PairBatch) -> Tensor:
    """-log pi(y_w | x) / |y_w|

    The mean over a response's tokens, so that every response counts the same, as in `sft_weight` and in ORPO. On the
    best of several samples: Dong et al., "RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment"
    (2023).
    """
    return batch.chosen_likelihood_loss


class SftSettings(PairLoss):
    """Supervised fine-tuning on the chosen response; no reference, and no rejected response.

    With `pairs.choose: best` it is rejection-sampling fine-tuning (RAFT).
    """

    needs_reference: ClassVar[bool] = False
    needs_rejected: ClassVar[bool] = False
    margin_meaning: ClassVar[str] = "none: it reads the chosen response alone"
    name: Literal["sft"] = "sft"
    """Supervised fine-tuning."""

    def loss(self, batch: PairBatch) -> Tensor:
        return sft_loss(batch)
