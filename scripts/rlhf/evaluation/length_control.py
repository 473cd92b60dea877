"""The win rate at equal length: what is left of a policy's wins when responses are not longer than those of `base`."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit

from rlhf.evaluation.duels import Duels

Values = NDArray[np.float64]

DUELS_PER_BLOCK = 2**20
"""Duels that the regression computes with at a time, to bound its memory."""
TOLERANCE = 1e-15
"""Relative error of the coefficients and of the gradient at which the regression ends."""


def length_controlled_win_rate(duels: Duels) -> float | None:
    """The win rate that would be seen if both responses were equally long.

    As in AlpacaEval 2 (Dubois et al. 2024), without its term for the difficulty of an instruction: logistic regression
    of the outcome on [1, tanh(difference / standard deviation of the differences)], read at difference 0. Every prompt
    has the same weight; a tie is half a win and half a loss.

    Returns:
        None if the data cannot tell: one side's responses are always longer, or a length difference separates wins
        from losses.
    """
    wins, differences = duels.wins, duels.length_differences
    if (wins == wins[0]).all():
        return float(wins[0] / 2)
    if not differences.min() <= 0 <= differences.max():
        return None
    if not differences.any():
        return float(np.average(duels.outcomes, weights=duels.weights))
    feature = length_feature(differences)
    won, lost = _range(feature, wins > 0), _range(feature, wins < 2)
    if won[0] >= lost[1] or lost[0] >= won[1]:
        return _rate_at_equal_length(duels) if 0.0 in won and 0.0 in lost else None
    intercept, _ = logistic_regression(feature, wins, duels.weights / len(duels.counts))
    return float(expit(intercept))


def length_feature(differences: NDArray[np.int32]) -> Values:
    """tanh of the standardized length differences, shape (duels,)."""
    feature = differences / differences.std()
    return np.tanh(feature, out=feature)


def logistic_regression(feature: Values, wins: NDArray[np.int8], weights: Values) -> Values:
    """Maximum-likelihood intercept and slope of weighted outcomes on a feature, shape (2,).

    Finds the root of the score, the gradient of the log-likelihood. There is exactly one if the feature varies and
    does not separate wins from losses.

    Args:
        feature: shape (duels,).
        wins: twice the outcome, shape (duels,).
        weights: of each duel, shape (duels,), adding up to 1.

    Raises:
        ArithmeticError: no convergence, which such data do not show.
    """
    found = root(
        _score,
        np.zeros(2),
        args=(feature, wins, weights),
        jac=_information,
        method="lm",
        options={"xtol": TOLERANCE, "ftol": TOLERANCE},
    )
    if not found.success:
        raise ArithmeticError(f"the logistic regression of the length control did not converge: {found.message}")
    coefficients: Values = found.x
    return coefficients


def _score(coefficients: Values, feature: Values, wins: NDArray[np.int8], weights: Values) -> Values:
    """Gradient of the weighted cross-entropy, shape (2,)."""
    gradient = np.zeros(2)
    for rows in _blocks(len(feature)):
        residual = weights[rows] * (_probabilities(coefficients, feature[rows]) - wins[rows] / 2)
        gradient += residual.sum(), residual @ feature[rows]
    return gradient


def _information(coefficients: Values, feature: Values, wins: NDArray[np.int8], weights: Values) -> Values:
    """Hessian of the weighted cross-entropy, shape (2, 2)."""
    hessian = np.zeros((2, 2))
    for rows in _blocks(len(feature)):
        probabilities = _probabilities(coefficients, feature[rows])
        curvature = weights[rows] * probabilities * (1 - probabilities)
        mixed = curvature @ feature[rows]
        hessian += [[curvature.sum(), mixed], [mixed, curvature @ np.square(feature[rows])]]
    return hessian


def _probabilities(coefficients: Values, feature: Values) -> Values:
    intercept, slope = coefficients
    return np.asarray(expit(intercept + slope * feature))


def _blocks(duels: int) -> list[slice]:
    return [slice(start, start + DUELS_PER_BLOCK) for start in range(0, duels, DUELS_PER_BLOCK)]


def _rate_at_equal_length(duels: Duels) -> float:
    """The win rate in duels of equally long responses.

    The limit of the regression where wins and losses meet at difference 0 and are separated elsewhere (`base` against
    itself: one half).
    """
    equal = duels.length_differences == 0
    return float(np.average(duels.wins[equal] / 2, weights=duels.weights[equal]))


def _range(feature: Values, where: NDArray[np.bool_]) -> tuple[float, float]:
    """The lowest and the highest value of the selected rows."""
    return feature.min(where=where, initial=math.inf), feature.max(where=where, initial=-math.inf)
