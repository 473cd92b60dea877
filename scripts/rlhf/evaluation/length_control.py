"""The win rate that would be seen if responses were as long as those of the reference.

The model is that of AlpacaEval 2 (Dubois et al. 2024, equation 2), with a difficulty of each prompt that comes from the
other policies at hand instead of from a leaderboard:

    logit P(win) = a * tanh(difference / standard deviation of the differences) + b * difficulty + c

The length-controlled win rate is its mean over the prompts at difference 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GroupKFold

from rlhf.evaluation.comparisons import Comparisons

Values = NDArray[np.float64]

FOLDS = 5
"""Folds of the cross-validation that chooses the regularisation; the rows of a prompt are in one fold."""
STRENGTHS = 10
"""Regularisation strengths that it chooses from, 1e-4 to 1e4."""
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
    """Coefficients (3,) of the L1-regularised logistic regression, its strength chosen by cross-validation.

    A preference p is a win with weight p and a loss with weight 1 - p, as in the original.
    """
    rows = len(preferences)
    weights = np.repeat(1 / counts, counts)
    prompts = np.repeat(np.arange(len(counts)), counts)
    outcomes = np.concatenate([np.ones(rows, np.int8), np.zeros(rows, np.int8)])
    both, groups = np.concatenate([features, features]), np.concatenate([prompts, prompts])
    folds = list(GroupKFold(FOLDS).split(both, outcomes, groups))
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")
        model = LogisticRegressionCV(
            Cs=STRENGTHS,
            l1_ratios=(1,),
            solver="liblinear",
            fit_intercept=False,
            cv=folds,
            scoring=scorer.set_score_request(sample_weight=True),
            max_iter=1000,
            random_state=0,
            use_legacy_attributes=False,
        )
        model.fit(
            both,
            outcomes,
            sample_weight=np.concatenate([weights * preferences, weights * (1 - preferences)]),
        )
    return np.asarray(model.coef_[0], np.float64)


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
