"""The win rate that would be seen if responses were as long as those of the reference.

The model is that of AlpacaEval 2 (Dubois et al. 2024, equation 2), with a difficulty of each prompt that comes from the
other policies at hand instead of from a leaderboard:

    logit P(win) = a * tanh(difference / standard deviation of the differences) + b * difficulty + c

The length-controlled win rate is its mean over the prompts at difference 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import norm

from rlhf.evaluation.comparisons import Comparisons

Values = NDArray[np.float64]

FOLDS = 5
"""Folds of the cross-validation that chooses the regularisation; the rows of a prompt are in one fold."""
STRENGTHS = np.logspace(-4, 4, 10)
"""Regularisation strengths that it chooses from: how much the absolute values of the coefficients count."""
FEW_PROMPTS, ONE_SIDED, SEPARATED = "few_prompts", "one_sided_lengths", "lengths_separate_wins"
"""Why there is no length-controlled win rate: fewer prompts than folds; the responses of one side are always longer;
the difference in length alone tells wins from losses."""


@dataclass(frozen=True)
class LengthControlled:
    """A length-controlled win rate with its interval, or why there is none."""

    rate: float | None
    low: float | None = None
    high: float | None = None
    unknown: str | None = None
    """Why `rate` is None."""


def length_controlled(found: Comparisons, difficulty: Values, confidence: float) -> LengthControlled:
    """Control the win rate of a policy for the length of its responses. Every prompt has the same weight.

    Args:
        found: the policy's comparisons.
        difficulty: of each distinct prompt, standardized, shape (prompts,); all zero where it is not known.
        confidence: level of the interval, 0.95 for 95 %.
    """
    preferences, differences = found.preferences, found.length_differences
    if (preferences == preferences[0]).all():
        only = float(preferences[0])
        return LengthControlled(only, only, only)
    counts = found.prompts[1]
    if len(counts) < FOLDS:
        return LengthControlled(None, unknown=FEW_PROMPTS)
    if not differences.min() <= 0 <= differences.max():
        return LengthControlled(None, unknown=ONE_SIDED)
    if _separates(differences, preferences):
        return LengthControlled(None, unknown=SEPARATED)
    features = np.column_stack([_length_feature(differences), np.repeat(difficulty, counts), np.ones(len(differences))])
    coefficients = _fit(features, preferences, counts)
    return _at_equal_length(features, preferences, counts, coefficients, confidence)


def _separates(differences: Values, preferences: Values) -> bool:
    """Whether all rows on one side of some difference are sure wins, and all on the other side sure losses."""
    won, lost = differences[preferences > 0], differences[preferences < 1]
    return bool(differences.any() and (won.min() >= lost.max() or lost.min() >= won.max()))


def _length_feature(differences: Values) -> Values:
    """tanh of the standardized differences, (rows,); 0 where all lengths are equal."""
    return np.tanh(differences / (differences.std() or 1.0))


def _fit(features: Values, preferences: Values, counts: NDArray[np.int64]) -> Values:
    """Coefficients (3,) of the L1-regularised logistic regression, its strength chosen by cross-validation."""
    weights = np.repeat(1 / counts, counts)
    folds = np.repeat(np.arange(len(counts)) % FOLDS, counts)

    def held_out_loss(strength: float) -> float:
        loss = 0.0
        for fold in range(FOLDS):
            held_out = folds == fold
            fitted = _regression(features[~held_out], preferences[~held_out], weights[~held_out], strength)
            loss += _loss(fitted, features[held_out], preferences[held_out], weights[held_out])
        return loss

    return _regression(features, preferences, weights, min(map(float, STRENGTHS), key=held_out_loss))


def _regression(features: Values, preferences: Values, weights: Values, strength: float) -> Values:
    """The coefficients (3,) with the least `_loss` plus `strength` times the sum of their absolute values.

    Positive and negative parts are variables of their own, which makes the sum smooth. (scikit-learn would do, but
    transformers imports it wherever it is installed: two seconds of every job.)
    """
    count = features.shape[1]

    def objective(parts: Values) -> tuple[float, Values]:
        coefficients = parts[:count] - parts[count:]
        slope = features.T @ (weights * (expit(features @ coefficients) - preferences))
        loss = _loss(coefficients, features, preferences, weights)
        return loss + strength * float(parts.sum()), np.concatenate([slope, -slope]) + strength

    best = minimize(objective, np.zeros(2 * count), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * count))
    return np.asarray(best.x[:count] - best.x[count:], np.float64)


def _loss(coefficients: Values, features: Values, preferences: Values, weights: Values) -> float:
    """Weighted log loss; a preference p is a win with weight p and a loss with weight 1 - p, as in the original."""
    scores = features @ coefficients
    return -float(weights @ (preferences * log_expit(scores) + (1 - preferences) * log_expit(-scores)))


def _at_equal_length(
    features: Values, preferences: Values, counts: NDArray[np.int64], coefficients: Values, confidence: float
) -> LengthControlled:
    """The mean predicted win rate at difference 0, with an interval.

    The interval is that of the M-estimator with prompts as clusters (Liang and Zeger 1986), by the delta method on the
    logit scale, for given difficulties. What the regularisation set to 0 counts as estimated all the same.
    """
    starts, prompts = np.cumsum(counts) - counts, len(counts)
    weights = np.repeat(1 / counts, counts)
    equal = features[starts] * [0, 1, 1]
    predicted = expit(equal @ coefficients)
    rate = float(predicted.mean())
    used = features.any(axis=0)  # all lengths may be equal, and the difficulty unknown
    design, fitted = features[:, used], expit(features @ coefficients)
    score = np.add.reduceat((weights * (preferences - fitted))[:, None] * design, starts)
    information = design.T @ ((weights * fitted * (1 - fitted))[:, None] * design)
    gradient = (predicted * (1 - predicted)) @ equal[:, used] / prompts
    influence = predicted - rate + prompts * score @ np.linalg.lstsq(information, gradient)[0]
    error = np.sqrt(np.square(influence).sum()) / prompts / (rate * (1 - rate))
    width = norm.ppf((1 + confidence) / 2) * error
    low, high = expit([logit(rate) - width, logit(rate) + width])
    return LengthControlled(rate, float(low), float(high))
