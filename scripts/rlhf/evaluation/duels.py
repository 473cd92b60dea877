"""Duels between a policy and `base`: every pair of their responses to the same prompt, and who wins."""

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
"""Prompts whose duels are built at a time: the indices take several times the memory of the duels."""


@dataclass(frozen=True)
class Duels:
    """All pairs of a draw of the policy and a draw of `base` on the same prompt, prompt by prompt."""

    wins: NDArray[np.int8]
    """Twice the outcome, (duels,): 2 where the policy's draw has the higher score, 1 for a tie, 0 otherwise."""
    length_differences: NDArray[np.int32]
    """Characters of the policy's response less characters of the response of `base`, (duels,)."""
    counts: Integers
    """Number of duels of each prompt, (prompts,), all positive."""

    @property
    def outcomes(self) -> Values:
        """1 for a win, 0.5 for a tie, 0 for a loss, (duels,)."""
        return self.wins / 2

    @property
    def weights(self) -> Values:
        """Weight of each duel, (duels,): the weights of a prompt add up to 1."""
        return np.repeat(1 / self.counts, self.counts)


def duels(policy: ScoredResponses, base: ScoredResponses) -> Duels:
    """The duels of each prompt that has at least one valid draw on both sides, ordered by prompt_id.

    Draws without a score are left out.

    Raises:
        UserError: the two sides answer different prompts, or no prompt has a valid score on both.
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


@dataclass(frozen=True)
class _Valid:
    """The scored draws of one side, prompt by prompt."""

    scores: NDArray[np.float32]
    characters: NDArray[np.int32]
    counts: Integers
    """Number of scored draws of each prompt, (prompts,)."""


def _valid(side: ScoredResponses) -> _Valid:
    has_score = side.draws["reward"].is_valid()
    starts = np.cumsum(side.counts) - side.counts
    return _Valid(
        side.valid().to_numpy(),
        side.draws["characters"].filter(has_score).to_numpy(),
        np.add.reduceat(has_score.to_numpy(), starts, dtype=np.int64),
    )


def _opponents(ours: _Valid, theirs: _Valid, prompts: slice) -> tuple[Integers, Integers]:
    """Indices of both draws of each duel on a range of prompts: each of our draws against each of theirs, in order."""
    draws, opponents = ours.counts[prompts], theirs.counts[prompts]
    first, first_opponent = (int(side.counts[: prompts.start].sum()) for side in (ours, theirs))
    meets = np.repeat(opponents, draws)  # by each of our draws
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
