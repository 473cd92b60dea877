"""Win rates of a policy against `base`, their bootstrap intervals, and the win rate at equal length."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rlhf.base.errors import UserError
from rlhf.evaluation.scored_responses import ScoredResponses

Values = NDArray[np.float64]
Integers = NDArray[np.int64]

PROMPTS_PER_BLOCK = 20_000
"""Whose duels are made at a time: their indices take several times the memory of the duels."""
DUELS_PER_BLOCK = 2**20
"""That the regression computes with at a time."""
NEWTON_STEPS = 100
SMALLEST_DECREMENT = 1e-18
"""Twice the loss that a Newton step can still gain where the search ends; the last step squares what is left."""
ROUNDING = 1e-14
"""Of the loss, which is of order one."""


@dataclass(frozen=True)
class Duels:
    """All pairs of a policy's draw and a draw of `base` on the same prompt, prompt by prompt."""

    wins: NDArray[np.int8]
    """Twice the outcome, (duels,): 2 where the policy's draw has the higher score, 1 for a tie, 0 otherwise."""
    length_differences: NDArray[np.int32]
    """Characters of the policy's response less characters of the response of `base`, (duels,)."""
    counts: Integers
    """Duels of each prompt, (prompts,), none 0."""

    @property
    def outcomes(self) -> Values:
        """1 for a win, 0.5 for a tie, 0 for a loss, (duels,)."""
        return self.wins / 2

    @property
    def weights(self) -> Values:
        """Of each duel, (duels,): those of a prompt add up to 1."""
        return np.repeat(1 / self.counts, self.counts)


def duels(policy: ScoredResponses, base: ScoredResponses) -> Duels:
    """The duels of each prompt that has at least one valid draw on both sides, ordered by prompt_id.

    A draw without a score takes no part.

    Raises:
        UserError: the two sides answer different prompts, or no prompt is left.
    """
    _require_same_prompts(policy.prompt_ids, base.prompt_ids)
    ours, theirs = _valid(policy), _valid(base)
    counts = ours.counts * theirs.counts
    if not counts.any():
        raise UserError(
            f"none of {len(counts)} prompts has a valid score on both sides: look at the column `invalid` of the scores"
        )
    ends = np.cumsum(counts)
    wins, differences = np.empty(ends[-1], np.int8), np.empty(ends[-1], np.int32)
    for start in range(0, len(counts), PROMPTS_PER_BLOCK):
        prompts = slice(start, start + PROMPTS_PER_BLOCK)
        block = slice(ends[start] - counts[start], ends[prompts][-1])
        one, other = _opponents(ours, theirs, prompts)
        score, base_score = ours.scores[one], theirs.scores[other]
        wins[block] = 1 + (score > base_score).astype(np.int8) - (score < base_score)
        differences[block] = ours.characters[one] - theirs.characters[other]
    return Duels(wins, differences, counts[counts > 0])


def prompt_win_rates(found: Duels) -> Values:
    """Mean outcome of each prompt over its pairs of draws, shape (prompts,)."""
    starts = np.cumsum(found.counts) - found.counts
    return np.add.reduceat(found.wins, starts, dtype=np.int64) / 2 / found.counts


def bootstrap_interval(values: Values, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron and Tibshirani 1993, chapter 13), resampling `values`, shape (n,).

    Equal seeds draw equal resamples, so that the intervals of policies on the same prompts are comparable.
    """
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(samples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def length_controlled_win_rate(found: Duels) -> float | None:
    """The win rate that would be seen if both responses were equally long.

    As AlpacaEval 2 does it (Dubois et al. 2024), without its term for the difficulty of an instruction: logistic
    regression of the outcome on [1, tanh(difference / standard deviation of the differences)], read at difference 0.
    Every prompt has the same weight; a tie is half a win and half a loss.

    Returns:
        None where the data do not tell: one side's responses are always the longer ones, or length and outcome cannot
        be held apart (a length difference separates wins from losses).
    """
    wins, differences = found.wins, found.length_differences
    if (wins == wins[0]).all():
        return float(wins[0] / 2)
    if not differences.min() <= 0 <= differences.max():
        return None
    if not differences.any():
        return float(np.average(found.outcomes, weights=found.weights))
    feature = differences / differences.std()
    np.tanh(feature, out=feature)
    won, lost = _bounds(feature, wins > 0), _bounds(feature, wins < 2)
    if won[0] >= lost[1] or lost[0] >= won[1]:
        # The likelihood has its supremum at an infinite slope. Where wins and losses meet at difference 0, the rate
        # there is what is seen there (base against itself: one half); elsewhere it could be anything.
        equal = differences == 0
        meet = 0.0 in won and 0.0 in lost
        return float(np.average(wins[equal] / 2, weights=found.weights[equal])) if meet else None
    intercept, _ = logistic_regression(lambda: _blocks(feature, found))
    return float(_sigmoid(intercept))


Block = tuple[Values, Values, Values]
"""Rows of a regression: features (rows, features), labels (rows,) in [0, 1], and positive weights (rows,)."""


def logistic_regression(blocks: Callable[[], Iterable[Block]]) -> Values:
    """Maximum-likelihood coefficients, shape (features,), by Newton's method with halved steps.

    Args:
        blocks: gives the rows anew, some at a time. Their features are of full rank, and no plane separates the labels.

    Raises:
        ArithmeticError: no convergence, which such data do not show.
    """
    total = sum(weights.sum() for _, _, weights in blocks())
    coefficients = np.zeros(next(iter(blocks()))[0].shape[1])
    loss = _cross_entropy(blocks, coefficients, total)
    for _ in range(NEWTON_STEPS):
        gradient, hessian = _derivatives(blocks, coefficients, total)
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step < SMALLEST_DECREMENT:
            return coefficients - step
        while (next_loss := _cross_entropy(blocks, coefficients - step, total)) > loss + ROUNDING:
            step = step / 2
        coefficients, loss = coefficients - step, next_loss
    raise ArithmeticError(f"logistic regression did not converge in {NEWTON_STEPS} steps")


def _derivatives(blocks: Callable[[], Iterable[Block]], coefficients: Values, total: float) -> tuple[Values, Values]:
    """Gradient and Hessian of the cross-entropy whose weights add up to 1; `total` is what they add up to before."""
    gradient, hessian = np.zeros(len(coefficients)), np.zeros((len(coefficients), len(coefficients)))
    for features, labels, weights in blocks():
        probabilities, share = _sigmoid(features @ coefficients), weights / total
        gradient += features.T @ (share * (probabilities - labels))
        hessian += features.T @ (features * (share * probabilities * (1 - probabilities))[:, None])
    return gradient, hessian


def _cross_entropy(blocks: Callable[[], Iterable[Block]], coefficients: Values, total: float) -> float:
    loss = 0.0
    for features, labels, weights in blocks():
        logits = features @ coefficients
        loss += float(weights / total @ (np.logaddexp(0, logits) - labels * logits))
    return loss


def _blocks(feature: Values, found: Duels) -> Iterator[Block]:
    """The rows of the regression on a constant and a feature."""
    weights = found.weights
    for start in range(0, len(feature), DUELS_PER_BLOCK):
        rows = slice(start, start + DUELS_PER_BLOCK)
        yield np.stack([np.ones_like(feature[rows]), feature[rows]], axis=1), found.wins[rows] / 2, weights[rows]


def _bounds(feature: Values, where: NDArray[np.bool_]) -> tuple[float, float]:
    """The lowest and the highest value of some rows."""
    return feature.min(where=where, initial=math.inf), feature.max(where=where, initial=-math.inf)


def _sigmoid(logits: Values) -> Values:
    """1 / (1 + exp(-logits)), without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


@dataclass(frozen=True)
class _Valid:
    """The draws of a side that have a score, prompt by prompt."""

    scores: NDArray[np.float32]
    characters: NDArray[np.int32]
    counts: Integers
    """Of each prompt, (prompts,)."""


def _valid(side: ScoredResponses) -> _Valid:
    has_score = side.draws["reward"].is_valid()
    starts = np.cumsum(side.counts) - side.counts
    return _Valid(
        side.valid().to_numpy(),
        side.draws["characters"].filter(has_score).to_numpy(),
        np.add.reduceat(has_score.to_numpy(), starts, dtype=np.int64),
    )


def _opponents(ours: _Valid, theirs: _Valid, prompts: slice) -> tuple[Integers, Integers]:
    """The two draws of each duel on some prompts: each of ours in order, against each of theirs in order."""
    draws, opponents = ours.counts[prompts], theirs.counts[prompts]
    first, first_opponent = (int(side.counts[: prompts.start].sum()) for side in (ours, theirs))
    meets = np.repeat(opponents, draws)  # of each of our draws
    one = np.repeat(first + np.arange(len(meets)), meets)
    starts = np.repeat(first_opponent + np.cumsum(opponents) - opponents, draws)
    within = np.arange(len(one)) - np.repeat(np.cumsum(meets) - meets, meets)
    return one, np.repeat(starts, meets) + within


def _require_same_prompts(policy: pa.Array, base: pa.Array) -> None:
    if policy.equals(base):
        return
    alone = [side.filter(pc.invert(pc.is_in(side, other))) for side, other in ((policy, base), (base, policy))]
    example = pc.min(pa.chunked_array(alone)).as_py()
    raise UserError(
        f"the policy answers {len(policy)} prompts and base {len(base)}, and they are not the same: "
        f"prompt_id={example!r} is on one side only. Give the same test parts of both."
    )
