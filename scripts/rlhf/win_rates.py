"""Win rates of a policy against `base`, their bootstrap intervals, and the win rate at equal length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf.errors import UserError
from rlhf.evaluation import ScoredResponse

Values = NDArray[np.float64]
Side = Mapping[str, Sequence[ScoredResponse]]
"""The draws of each prompt, by prompt_id."""

NEWTON_STEPS = 100
SMALLEST_DECREMENT = 1e-18
"""Twice the loss that a Newton step can still gain where the search ends; the last step squares what is left."""
ROUNDING = 1e-14
"""Of the loss, which is of order one."""


@dataclass(frozen=True)
class Duel:
    """All pairs of a policy's draw and a draw of `base` on one prompt, shape (policy draws * base draws,) each."""

    outcomes: Values
    """1 where the policy's draw has the higher score, 0.5 for a tie, 0 where it has the lower one."""
    length_differences: Values
    """Characters of the policy's response less characters of the response of `base`."""


def duels(policy: Side, base: Side) -> dict[str, Duel]:
    """The duels of each prompt that has at least one valid draw on both sides, ordered by prompt_id.

    A draw without a score takes no part.

    Raises:
        UserError: the two sides answer different prompts, or no prompt is left.
    """
    if policy.keys() != base.keys():
        example = min(policy.keys() ^ base.keys())
        raise UserError(
            f"the policy answers {len(policy)} prompts and base {len(base)}, and they are not the same: "
            f"prompt_id={example!r} is on one side only. Give the same test parts of both."
        )
    found = {prompt_id: _duel(policy[prompt_id], base[prompt_id]) for prompt_id in sorted(policy)}
    kept = {prompt_id: duel for prompt_id, duel in found.items() if len(duel.outcomes)}
    if not kept:
        raise UserError(
            f"none of {len(found)} prompts has a valid score on both sides: look at the column `invalid` of the scores"
        )
    return kept


def prompt_win_rates(found: Mapping[str, Duel]) -> Values:
    """Mean outcome of each prompt over its pairs of draws, shape (prompts,)."""
    return np.array([duel.outcomes.mean() for duel in found.values()])


def bootstrap_interval(values: Values, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron and Tibshirani 1993, chapter 13), resampling `values`, shape (n,).

    Equal seeds draw equal resamples, so that the intervals of policies on the same prompts are comparable.
    """
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(samples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def length_controlled_win_rate(found: Mapping[str, Duel]) -> float | None:
    """The win rate that would be seen if both responses were equally long.

    As AlpacaEval 2 does it (Dubois et al. 2024), without its term for the difficulty of an instruction: logistic
    regression of the outcome on [1, tanh(difference / standard deviation of the differences)], read at difference 0.
    Every prompt has the same weight; a tie is half a win and half a loss.

    Returns:
        None where the data do not tell: one side's responses are always the longer ones, or length and outcome cannot
        be held apart (a length difference separates wins from losses).
    """
    outcomes = np.concatenate([duel.outcomes for duel in found.values()])
    differences = np.concatenate([duel.length_differences for duel in found.values()])
    weights = np.concatenate([np.full(len(duel.outcomes), 1 / len(duel.outcomes)) for duel in found.values()])
    if (outcomes == outcomes[0]).all():
        return float(outcomes[0])
    if not differences.min() <= 0 <= differences.max():
        return None
    if (differences == 0).all():
        return float(np.average(outcomes, weights=weights))
    feature = np.tanh(differences / differences.std())
    won, lost = feature[outcomes > 0], feature[outcomes < 1]
    if won.min() >= lost.max() or lost.min() >= won.max():
        # The likelihood has its supremum at an infinite slope. Where wins and losses meet at difference 0, the rate
        # there is what is seen there (base against itself: one half); elsewhere it could be anything.
        equal = differences == 0
        meet = 0.0 in (won.min(), won.max()) and 0.0 in (lost.min(), lost.max())
        return float(np.average(outcomes[equal], weights=weights[equal])) if meet else None
    intercept, _ = logistic_regression(np.stack([np.ones_like(feature), feature], axis=1), outcomes, weights)
    return float(_sigmoid(intercept))


def logistic_regression(features: Values, labels: Values, weights: Values) -> Values:
    """Maximum-likelihood coefficients, shape (features,), by Newton's method with halved steps.

    Args:
        features: shape (rows, features), of full rank and with no plane that separates the labels.
        labels: probabilities in [0, 1], shape (rows,).
        weights: positive, shape (rows,).

    Raises:
        ArithmeticError: no convergence, which such data do not show.
    """
    weights = weights / weights.sum()
    coefficients = np.zeros(features.shape[1])
    loss = _cross_entropy(features @ coefficients, labels, weights)
    for _ in range(NEWTON_STEPS):
        probabilities = _sigmoid(features @ coefficients)
        gradient = features.T @ (weights * (probabilities - labels))
        hessian = features.T @ (features * (weights * probabilities * (1 - probabilities))[:, None])
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step < SMALLEST_DECREMENT:
            return coefficients - step
        while (next_loss := _cross_entropy(features @ (coefficients - step), labels, weights)) > loss + ROUNDING:
            step = step / 2
        coefficients, loss = coefficients - step, next_loss
    raise ArithmeticError(f"logistic regression did not converge in {NEWTON_STEPS} steps")


def _sigmoid(logits: Values) -> Values:
    """1 / (1 + exp(-logits)), without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def _cross_entropy(logits: Values, labels: Values, weights: Values) -> float:
    return float(weights @ (np.logaddexp(0, logits) - labels * logits))


def _duel(policy: Sequence[ScoredResponse], base: Sequence[ScoredResponse]) -> Duel:
    policy_scores, policy_lengths = _valid(policy)
    base_scores, base_lengths = _valid(base)
    outcomes = (np.sign(policy_scores[:, None] - base_scores[None, :]) + 1) / 2
    return Duel(outcomes.ravel(), (policy_lengths[:, None] - base_lengths[None, :]).ravel())


def _valid(draws: Sequence[ScoredResponse]) -> tuple[Values, Values]:
    """Scores and lengths in characters of the draws that have a score."""
    kept = [(draw.score, len(draw.response)) for draw in draws if draw.score is not None]
    pairs = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
