"""The interface of a loss: its settings, and a value per pair."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from operator import not_
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from rlhf.base.choices import Choice

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf.pairs.paired_prompts import PairedPrompt
    from rlhf.training.units.unit import Unit


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
    chosen_expected: Tensor | None = None
    """Log of the probability that a token would have on average, had the policy sampled it itself: log sum_v p(v)^2,
    summed over the response's places. None unless the pairs are weighted (`wpo`)."""
    rejected_expected: Tensor | None = None

    @property
    def chosen_likelihood_loss(self) -> Tensor:
        """-log pi(y_w | x) / |y_w|"""
        return -self.chosen_logprob / self.chosen_tokens

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


class Loss(Choice):
    """The settings of a loss; one subclass per file of `rlhf.training.losses`."""

    package: ClassVar[str] = "rlhf.training.losses"
    key: ClassVar[str] = "name"

    name: str
    """Name of the loss, and of its file."""
    needs_reference: ClassVar[bool] = True
    """Whether it reads reference log-probabilities; if not, they are not computed."""
    needs_rejected: ClassVar[bool] = True
    """Whether it reads rejected responses; if not, they are not computed, and `pairs.choose` may be `best`."""
    needs_rewards: ClassVar[bool] = False
    """Whether it reads rewards or win probabilities, which imported pairs may lack."""
    unpaired: ClassVar[bool] = False
    """Whether it learns from examples instead of pairs."""
    margin_meaning: ClassVar[str]
    """What sign agreement counts the positive values of, in words for the report."""

    @property
    def reported_scale(self) -> float:
        """Factor from the optimised loss to the loss as published; metrics report the latter."""
        return 1.0

    @classmethod
    @abstractmethod
    def unit(cls) -> Unit[Any]:
        """What the loss learns from, and how that is read and computed."""


class PairLoss(Loss):
    """A loss of preference pairs, and its value."""

    sft_weight: float | None = Field(None, ge=1e-6, le=1e6, exclude_if=not_)
    """Adds this times the mean negative log-probability of a token of the chosen response (RPO), which keeps the
    chosen response from becoming less likely together with the rejected one. It is added to the loss as it is
    optimised: REBEL's and SPPO's are divided by a constant first. Null adds nothing."""
    wpo: bool = Field(False, exclude_if=not_)
    """Weight each pair by how likely the policy is to give its two responses (WPO), so that responses of other policies
    count less. Reported losses are without the weights."""
    margin_meaning: ClassVar[str] = "log-ratio of chosen less that of rejected, log(π/π_ref) summed over tokens"

    @model_validator(mode="after")
    def _check_two_responses(self) -> PairLoss:
        for key, value in (("sft_weight", self.sft_weight), ("wpo", self.wpo)):
            if value and not self.needs_rejected:
                raise ValueError(f"`{key}` is for losses of two responses; {self.name} reads the chosen one alone")
        return self

    @classmethod
    def unit(cls) -> Unit[PairedPrompt]:
        from rlhf.training.units.pairs import PairUnit  # the workflow reads the settings without torch

        return PairUnit()

    @abstractmethod
    def loss(self, batch: PairBatch) -> Tensor:
        """The optimised loss of each pair, float32 (batch,), by the formula alone."""

    def objective(self, batch: PairBatch) -> Tensor:
        """What is minimised for each pair, before it is weighted: the loss and its term `sft_weight`, float32 (batch,).

        L - alpha log pi(y_w | x) / |y_w|, as in Pang et al., "Iterative Reasoning Preference Optimization" (2024),
        equation 1. Metrics report it times `reported_scale`, both terms.
        """
        if self.sft_weight is None:
            return self.loss(batch)
        return self.loss(batch) + self.sft_weight * batch.chosen_likelihood_loss

    def pair_weight(self, batch: PairBatch) -> Tensor:
        """The weight of each pair's objective, float32 (batch,), a constant for the gradient; 1 unless `wpo`.

        w(y_w) w(y_l) with w(y) = exp(1 / |y| sum_t log(p(y_t) / sum_v p(v)^2)), where p is the policy's distribution
        of token t: Zhou et al., "WPO: Enhancing RLHF with Weighted Preference Optimization" (2024), with its sampled
        alignment, which gives what the policy samples itself about the same weight however certain it is.
        """
        if not self.wpo:
            return batch.chosen_logprob.new_ones(batch.chosen_logprob.shape)
        assert batch.chosen_expected is not None and batch.rejected_expected is not None
        chosen = (batch.chosen_logprob - batch.chosen_expected) / batch.chosen_tokens
        rejected = (batch.rejected_logprob - batch.rejected_expected) / batch.rejected_tokens
        return (chosen + rejected).exp().detach()

    def margin(self, batch: PairBatch) -> Tensor:
        """Positive where the policy prefers the chosen response, float32 (batch,); a - b unless a loss overrides it."""
        return batch.chosen_logratio - batch.rejected_logratio


class ReferenceFreeLoss(PairLoss):
    """A loss of the mean per-token log-probabilities; their difference is its margin."""

    needs_reference: ClassVar[bool] = False
    margin_meaning: ClassVar[str] = "mean log-probability of a token of chosen less that of rejected"

    def margin(self, batch: PairBatch) -> Tensor:
        return batch.chosen_logprob / batch.chosen_tokens - batch.rejected_logprob / batch.rejected_tokens
