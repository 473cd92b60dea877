"""Choose the pair among a prompt's candidates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.pairs.settings import PairSpec


@dataclass(frozen=True)
class Candidate:
    """A response that may become part of a pair."""

    draw: int
    reward: float
    row: int
    """Its row in the responses."""


def choose_pair(candidates: Sequence[Candidate], prompt_id: str, spec: PairSpec) -> tuple[Candidate, Candidate]:
    """The chosen and the rejected one of at least two candidates; ties go to the lowest draw.

    With `best` there may be a single candidate, and the rejected one may be the chosen one itself.

    The two may have equal rewards, which the caller must check. Only `margin` skips candidates that tie with the best
    one or are below `min_margin`, as long as there are others.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.reward, candidate.draw))
    best, others = ordered[0], ordered[1:]
    if spec.choose == "best":
        return best, ordered[-1]
    if spec.choose == "random":
        chosen, rejected = sorted(in_random_order(candidates, prompt_id, spec.seed)[:2], key=ordered.index)
        return chosen, rejected
    if spec.choose == "best_random":
        return best, in_random_order(others, prompt_id, spec.seed)[0]
    if spec.target_margin is not None:
        return best, nearest_margin(best, others, spec.target_margin, spec.min_margin)
    return best, min(others, key=lambda candidate: (candidate.reward, candidate.draw))


def in_random_order(candidates: Sequence[Candidate], prompt_id: str, seed: int | None) -> list[Candidate]:
    """Sorted by a hash of seed, prompt and draw, so that the order does not depend on other prompts."""

    def key(candidate: Candidate) -> str:
        return hashlib.sha256(f"{seed}\0{prompt_id}\0{candidate.draw}".encode()).hexdigest()

    return sorted(candidates, key=key)


def nearest_margin(best: Candidate, others: Sequence[Candidate], target: float, least: float) -> Candidate:
    """The candidate in `others` whose margin to `best` is nearest to `target`; one that makes a pair, if possible."""
    margins = {other: best.reward - other.reward for other in others}
    possible = [other for other in others if margins[other] > 0 and margins[other] >= least]
    return min(possible or others, key=lambda other: (abs(margins[other] - target), other.draw))
