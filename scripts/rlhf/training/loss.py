"""The interface of a loss: its settings, and a value per pair."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlhf.base.choices import Choice

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """What a loss can read of a batch of pairs; every tensor is float32 of shape (batch,).

    Log-probabilities are summed over the response's tokens, at the sampling temperature. The formulas of the losses
    write y_w for the chosen response, y_l for the rejected one, |y| for the number of tokens of a response, and a and b
    for the two log-ratios below.
    """

    chosen_logprob: Tensor
    rejected_logprob: Tensor
    reference_chosen_logprob: Tensor
    reference_rejected_logprob: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor
    chosen_win_probability: Tensor
    rejected_win_probability: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def chosen_logratio(self) -> Tensor:
        """a = log pi(y_w | x) - log pi_ref(y_w | x)"""
        return self.chosen_logprob - self.reference_chosen_logprob

    @property
    def rejected_logratio(self) -> Tensor:
        """b = log pi(y_l | x) - log pi_ref(y_l | x)"""
        return self.rejected_logprob - self.reference_rejected_logprob

    @property
    def margin_per_token(self) -> Tensor:
        """a / |y_w| - b / |y_l|"""
        return self.chosen_logratio / self.chosen_tokens - self.rejected_logratio / self.rejected_tokens


def log_sigmoid(x: Tensor) -> Tensor:
    from torch.nn import functional  # the workflow reads the settings below without torch

    return functional.logsigmoid(x)


class PairLoss(Choice):
    """The settings of a loss and its value; one subclass per file of `rlhf.training.losses`."""

    package: ClassVar[str] = "rlhf.training.losses"
    key: ClassVar[str] = "name"

    name: str
    """Name of the loss, and of its file."""
    needs_reference: ClassVar[bool] = True
    """Whether it reads reference log-probabilities; if not, they are not computed."""
    needs_rewards: ClassVar[bool] = False
    """Whether it reads rewards or win probabilities, which imported pairs may lack."""

    @property
    def reported_scale(self) -> float:
        """Factor from the optimised loss to the loss as published; metrics report the latter."""
        return 1.0

    @abstractmethod
    def loss(self, batch: PairBatch) -> Tensor:
        """The optimised loss of each pair, float32 (batch,)."""

    def margin(self, batch: PairBatch) -> Tensor:
        """Positive where the policy prefers the chosen response, float32 (batch,); a - b unless a loss overrides it."""
        return batch.chosen_logratio - batch.rejected_logratio


class ReferenceFreeLoss(PairLoss):
    """A loss of the mean per-token log-probabilities; their difference is its margin."""

    needs_reference: ClassVar[bool] = False

    def margin(self, batch: PairBatch) -> Tensor:
        return batch.chosen_logprob / batch.chosen_tokens - batch.rejected_logprob / batch.rejected_tokens
