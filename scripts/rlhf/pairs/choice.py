"""Choose the pairs among a prompt's candidates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rlhf.pairs.settings import PairSpec


@dataclass(frozen=True)
class Candidate:
    """A response that may become part of a pair."""

    draw: int
    reward: float
    row: int
    """Its row in the responses."""


ChosenPair = tuple[Candidate, Candidate]
"""The chosen and the rejected one."""


def choose_pairs(candidates: Sequence[Candidate], prompt_id: str, spec: PairSpec) -> list[ChosenPair]:
    """At most `spec.per_prompt` pairs of at least two candidates, in the order of the choice; ties go to lower draws.

    With `best` there may be a single candidate, and the rejected one may be the chosen one itself. The two of a pair
    may have equal rewards, which the caller must check. Only `margin` puts those that tie with the best one or are
    below `min_margin` behind the others.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.reward, candidate.draw))
    if spec.choose == "best":
        return [(ordered[0], ordered[-1])]
    if spec.choose == "random":
        pairs = pairs_in_random_order(ordered, prompt_id, spec.seed)
    elif spec.choose == "all":
        pairs = sorted(combinations(ordered, 2), key=_largest_margin_first)
    else:
        best, others = ordered[0], ordered[1:]
        pairs = [(best, other) for other in _beside_the_best(best, others, prompt_id, spec)]
    return pairs[: spec.per_prompt]


def _beside_the_best(best: Candidate, others: list[Candidate], prompt_id: str, spec: PairSpec) -> list[Candidate]:
    if spec.choose == "best_random":
        return in_random_order(others, prompt_id, spec.seed)
    if spec.target_margin is not None:
        return nearest_margins(best, others, spec.target_margin, spec.min_margin)
    return sorted(others, key=lambda candidate: (candidate.reward, candidate.draw))


def _largest_margin_first(pair: ChosenPair) -> tuple[float, float, float]:
    chosen, rejected = pair
    # Different margins may round to the same number; the best and the worst candidate come first all the same.
    return rejected.reward - chosen.reward, -chosen.reward, rejected.reward


def pairs_in_random_order(ordered: Sequence[Candidate], prompt_id: str, seed: int | None) -> list[ChosenPair]:
    """All pairs of candidates; the first k of them are k at random, whatever k is.

    The first pair is that of the two candidates whose hashes are lowest, the others follow by a hash of the pair.

    Args:
        ordered: candidates, the best first.
    """
    drawn = in_random_order(ordered, prompt_id, seed)[:2]

    def key(pair: ChosenPair) -> tuple[bool, str]:
        low, high = sorted(candidate.draw for candidate in pair)
        return set(pair) != set(drawn), hashlib.sha256(f"{seed}\0{prompt_id}\0{low}\0{high}".encode()).hexdigest()

    return sorted(combinations(ordered, 2), key=key)


def in_random_order(candidates: Sequence[Candidate], prompt_id: str, seed: int | None) -> list[Candidate]:
    """Sorted by a hash of seed, prompt and draw, so that the order does not depend on other prompts."""

    def key(candidate: Candidate) -> str:
        return hashlib.sha256(f"{seed}\0{prompt_id}\0{candidate.draw}".encode()).hexdigest()

    return sorted(candidates, key=key)


def nearest_margins(best: Candidate, others: Sequence[Candidate], target: float, least: float) -> list[Candidate]:
    """The `others` by the distance of their margin to `best` from `target`; first those that make a pair with it."""
    margins = {other: best.reward - other.reward for other in others}

    def key(other: Candidate) -> tuple[bool, float, int]:
        margin = margins[other]
        return not (margin > 0 and margin >= least), abs(margin - target), other.draw

    return sorted(others, key=key)
