"""Preference losses: small pure functions of log-probabilities, and the registry that the configuration names.

To add one: a function of a `PairBatch` that returns a value per pair, a `PairLoss` with its settings, and that class in
`LossSettings`. The workflow reads this module too, without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rlhf.settings import Settings, Strength

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """What a loss may read of a batch of pairs; every tensor is float32 of shape (batch,).

    Log-probabilities are sums over the response's tokens at the sampling temperature.
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


def log_sigmoid(x: Tensor) -> Tensor:
    from torch.nn import functional  # the workflow reads the settings below without torch

    return functional.logsigmoid(x)


def rebel_loss(batch: PairBatch, eta: float) -> Tensor:
    """((a - b) - eta (r_w - r_l))^2 / max(1, eta)

    Gao et al., "REBEL: Reinforcement Learning via Regressing Relative Rewards" (2024), equation 9, in the form of the
    published code, where eta multiplies the rewards. Its eta of 1e6 makes the plain square of order 1e10; divided by
    eta its gradient is of order one. `RebelSettings.reported_scale` undoes the division in what is logged.
    """
    residual = (batch.chosen_logratio - batch.rejected_logratio) - eta * (batch.chosen_reward - batch.rejected_reward)
    return (residual / max(1.0, eta) ** 0.5).square()


def dpo_loss(batch: PairBatch, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """(1 - e) L(beta (a - b)) + e L(-beta (a - b)) with L(x) = -log sigmoid(x)

    Rafailov et al., "Direct Preference Optimization" (2023), equation 7; with a share e of preferences that are the
    wrong way round, Mitchell, "A note on DPO with noisy preferences" (2023), equation 3.
    """
    margin = beta * (batch.chosen_logratio - batch.rejected_logratio)
    return -(1 - label_smoothing) * log_sigmoid(margin) - label_smoothing * log_sigmoid(-margin)


def ipo_loss(batch: PairBatch, tau: float, per_token: bool) -> Tensor:
    """(a / |y_w| - b / |y_l| - 1 / (2 tau))^2, or without the lengths

    Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences" (2023), equation 17; the
    mean over the tokens is the form that its authors use.
    """
    chosen, rejected = batch.chosen_logratio, batch.rejected_logratio
    if per_token:
        chosen, rejected = chosen / batch.chosen_tokens, rejected / batch.rejected_tokens
    return (chosen - rejected - 1 / (2 * tau)).square()


def simpo_loss(batch: PairBatch, beta: float, gamma: float) -> Tensor:
    """-log sigmoid(beta (log pi(y_w | x) / |y_w| - log pi(y_l | x) / |y_l|) - gamma)

    Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward" (2024), equation 6.
    """
    chosen = batch.chosen_logprob / batch.chosen_tokens
    rejected = batch.rejected_logprob / batch.rejected_tokens
    return -log_sigmoid(beta * (chosen - rejected) - gamma)


def hinge_loss(batch: PairBatch, beta: float) -> Tensor:
    """max(0, 1 - beta (a - b))

    Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback" (2023), equation 1, on log-ratios.
    """
    return (1 - beta * (batch.chosen_logratio - batch.rejected_logratio)).clamp(min=0)


def sppo_loss(batch: PairBatch, beta: float) -> Tensor:
    """1/2 [(a - (P_w - 1/2) / beta)^2 + (b - (P_l - 1/2) / beta)^2] / max(1, 1 / beta)

    Wu et al., "Self-Play Preference Optimization for Language Model Alignment" (2024), equation 4.3, where P estimates
    the probability to win against the policy's own responses and eta = 1 / beta. The plain square of beta = 1e-3 is of
    order 1e5; it is divided as REBEL's is, and `SppoSettings.reported_scale` undoes that in what is logged.
    """
    scale = min(1.0, beta) ** 0.5
    chosen = scale * (batch.chosen_logratio - (batch.chosen_win_probability - 0.5) / beta)
    rejected = scale * (batch.rejected_logratio - (batch.rejected_win_probability - 0.5) / beta)
    return (chosen.square() + rejected.square()) / 2


def apo_zero_loss(batch: PairBatch, beta: float) -> Tensor:
    """1 - sigmoid(beta a) + sigmoid(beta b)

    D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions" (2024), equation 4 (APO-zero).
    """
    return 1 - (beta * batch.chosen_logratio).sigmoid() + (beta * batch.rejected_logratio).sigmoid()


def orpo_loss(batch: PairBatch, weight: float) -> Tensor:
    """-log p_w - lambda log sigmoid(log odds(p_w) - log odds(p_l)), where p is the mean probability of a token

    Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model" (2024), equations 4 to 7: log p is
    the mean log-probability over the response's tokens, log odds(p) = log p - log(1 - p).
    """
    chosen = batch.chosen_logprob / batch.chosen_tokens
    rejected = batch.rejected_logprob / batch.rejected_tokens
    odds_ratio = (chosen - log_one_minus_exp(chosen)) - (rejected - log_one_minus_exp(rejected))
    return -chosen - weight * log_sigmoid(odds_ratio)


def log_one_minus_exp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, without loss of digits on either side of -log 2; at x = 0 it stays finite."""
    x = x.clamp(max=-1e-7)
    return x.exp().neg().log1p().where(x < -0.6931, x.expm1().neg().log())


class PairLoss(Settings, ABC):
    """The settings of a loss, and what the pipeline asks of it."""

    needs_reference: ClassVar[bool] = True
    """Whether it reads reference log-probabilities: they are computed only then."""

    @property
    def reported_scale(self) -> float:
        """Published loss = optimised loss times this."""
        return 1.0

    @abstractmethod
    def loss(self, batch: PairBatch) -> Tensor:
        """The optimised loss of each pair, float32 (batch,)."""

    def margin(self, batch: PairBatch) -> Tensor:
        """What it wants to be positive, float32 (batch,): a - b, unless a loss says otherwise."""
        return batch.chosen_logratio - batch.rejected_logratio


class ReferenceFreeLoss(PairLoss):
    """A loss of the mean log-probabilities of a token; their difference is its margin."""

    needs_reference: ClassVar[bool] = False

    def margin(self, batch: PairBatch) -> Tensor:
        return batch.chosen_logprob / batch.chosen_tokens - batch.rejected_logprob / batch.rejected_tokens


class RebelSettings(PairLoss):
    """REBEL: regress the difference of the log-ratios on the difference of the rewards."""

    name: Literal["rebel"] = "rebel"
    """REBEL."""
    eta: float = Field(1.0e6, ge=1e-6, le=1e12)
    """Weight of the reward difference: large values trust the rewards more and the reference less."""

    @property
    def reported_scale(self) -> float:
        return max(1.0, self.eta)

    def loss(self, batch: PairBatch) -> Tensor:
        return rebel_loss(batch, self.eta)


class DpoSettings(PairLoss):
    """DPO: logistic loss on the difference of the log-ratios."""

    name: Literal["dpo"] = "dpo"
    """DPO."""
    beta: Strength = 0.01
    """Strength of the tie to the reference."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Share of the preferences that are assumed to be the wrong way round."""

    def loss(self, batch: PairBatch) -> Tensor:
        return dpo_loss(batch, self.beta, self.label_smoothing)


class IpoSettings(PairLoss):
    """IPO: regress the difference of the log-ratios on a constant."""

    name: Literal["ipo"] = "ipo"
    """IPO."""
    tau: Strength = 0.1
    """Strength of the tie to the reference: the difference is drawn to 1 / (2 tau)."""
    per_token: bool = True
    """Mean of the log-ratios over the response's tokens; false for their sum."""

    def margin(self, batch: PairBatch) -> Tensor:
        if not self.per_token:
            return super().margin(batch)
        return batch.chosen_logratio / batch.chosen_tokens - batch.rejected_logratio / batch.rejected_tokens

    def loss(self, batch: PairBatch) -> Tensor:
        return ipo_loss(batch, self.tau, self.per_token)


class SimpoSettings(ReferenceFreeLoss):
    """SimPO: logistic loss on mean log-probabilities, without a reference."""

    name: Literal["simpo"] = "simpo"
    """SimPO."""
    beta: Strength = 10.0
    """Scale of the difference of the mean log-probabilities."""
    gamma: float = Field(3.0, ge=0, le=1e6)
    """Margin that the chosen response should win by."""

    def loss(self, batch: PairBatch) -> Tensor:
        return simpo_loss(batch, self.beta, self.gamma)


class HingeSettings(PairLoss):
    """Hinge loss (SLiC) on the difference of the log-ratios."""

    name: Literal["hinge"] = "hinge"
    """Hinge."""
    beta: Strength = 0.01
    """Slope: the loss is zero from a difference of 1 / beta on."""

    def loss(self, batch: PairBatch) -> Tensor:
        return hinge_loss(batch, self.beta)


class SppoSettings(PairLoss):
    """SPPO: regress each log-ratio on the response's probability to win against the policy's own."""

    name: Literal["sppo"] = "sppo"
    """SPPO."""
    beta: Strength = 1.0e-3
    """Strength of the tie to the reference; its inverse is the paper's eta."""

    @property
    def reported_scale(self) -> float:
        return max(1.0, 1 / self.beta)

    def loss(self, batch: PairBatch) -> Tensor:
        return sppo_loss(batch, self.beta)


class ApoZeroSettings(PairLoss):
    """APO-zero: raise the chosen and lower the rejected response, each by itself."""

    name: Literal["apo_zero"] = "apo_zero"
    """APO-zero."""
    beta: Strength = 0.05
    """Slope of the sigmoids."""

    def loss(self, batch: PairBatch) -> Tensor:
        return apo_zero_loss(batch, self.beta)


class OrpoSettings(ReferenceFreeLoss):
    """ORPO: likelihood of the chosen response and its odds against the rejected one, without a reference."""

    name: Literal["orpo"] = "orpo"
    """ORPO."""
    weight: Strength = 0.1
    """Weight of the odds ratio beside the likelihood (lambda)."""

    def loss(self, batch: PairBatch) -> Tensor:
        return orpo_loss(batch, self.weight)


LossSettings = Annotated[
    RebelSettings
    | DpoSettings
    | IpoSettings
    | SimpoSettings
    | HingeSettings
    | SppoSettings
    | ApoZeroSettings
    | OrpoSettings,
    Field(discriminator="name"),
]
