"""ORPO: likelihood of the chosen response, plus its odds ratio to the rejected one; no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlhf.base.settings import Strength
from rlhf.training.loss import PairBatch, ReferenceFreeLoss, log_sigmoid

if TYPE_CHECKING:
    from torch import Tensor


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
    """log(1 - exp(x)) for x < 0, accurate on both sides of -log 2; at x = 0 it stays finite."""
    x = x.clamp(max=-1e-7)
    return x.exp().neg().log1p().where(x < -0.6931, x.expm1().neg().log())


class OrpoSettings(ReferenceFreeLoss):
    """ORPO: likelihood of the chosen response, plus its odds ratio to the rejected one; no reference."""

    name: Literal["orpo"] = "orpo"
    """Odds ratio preference optimization."""
    weight: Strength = 0.1
    """Weight of the odds-ratio term relative to the likelihood term (lambda in the paper)."""

    def loss(self, batch: PairBatch) -> Tensor:
        return orpo_loss(batch, self.weight)
