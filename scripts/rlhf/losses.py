"""Preference losses: small pure functions of log-probabilities, and the registry that the configuration names.

To add one: a function of a `PairBatch` that returns a value per pair, a settings class beside it that says what it
needs, and the class in `LossSettings`. This module is read by the workflow too, in an environment without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rlhf.settings import Settings

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


def dpo_loss(batch: PairBatch, beta: float) -> Tensor:
    """-log sigmoid(beta (a - b))

    Rafailov et al., "Direct Preference Optimization" (2023), equation 7.
    """
    return -log_sigmoid(beta * (batch.chosen_logratio - batch.rejected_logratio))


def simpo_loss(batch: PairBatch, beta: float, gamma: float) -> Tensor:
    """-log sigmoid(beta (log pi(y_w | x) / |y_w| - log pi(y_l | x) / |y_l|) - gamma)

    Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward" (2024), equation 6.
    """
    chosen = batch.chosen_logprob / batch.chosen_tokens
    rejected = batch.rejected_logprob / batch.rejected_tokens
    return -log_sigmoid(beta * (chosen - rejected) - gamma)


class RebelSettings(Settings):
    """REBEL: regress the difference of the log-ratios on the difference of the rewards."""

    needs_reference: ClassVar[bool] = True

    name: Literal["rebel"] = "rebel"
    """REBEL."""
    eta: float = Field(1.0e6, gt=0)
    """Weight of the reward difference: large values trust the rewards more and the reference less."""

    @property
    def reported_scale(self) -> float:
        """Published loss = optimised loss times this."""
        return max(1.0, self.eta)

    def loss(self, batch: PairBatch) -> Tensor:
        return rebel_loss(batch, self.eta)


class DpoSettings(Settings):
    """DPO: logistic loss on the difference of the log-ratios."""

    needs_reference: ClassVar[bool] = True
    reported_scale: ClassVar[float] = 1.0

    name: Literal["dpo"] = "dpo"
    """DPO."""
    beta: float = Field(0.01, gt=0)
    """Strength of the tie to the reference."""

    def loss(self, batch: PairBatch) -> Tensor:
        return dpo_loss(batch, self.beta)


class SimpoSettings(Settings):
    """SimPO: logistic loss on mean log-probabilities, without a reference."""

    needs_reference: ClassVar[bool] = False
    reported_scale: ClassVar[float] = 1.0

    name: Literal["simpo"] = "simpo"
    """SimPO."""
    beta: float = Field(10.0, gt=0)
    """Scale of the difference of the mean log-probabilities."""
    gamma: float = Field(3.0, ge=0)
    """Margin that the chosen response should win by."""

    def loss(self, batch: PairBatch) -> Tensor:
        return simpo_loss(batch, self.beta, self.gamma)


LossSettings = Annotated[RebelSettings | DpoSettings | SimpoSettings, Field(discriminator="name")]
