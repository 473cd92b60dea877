"""Which two of a prompt's candidates become its pair."""

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
    """Its row of the responses."""


def choose_pair(candidates: Sequence[Candidate], prompt_id: str, spec: PairSpec) -> tuple[Candidate, Candidate]:
    """The chosen and the rejected of at least two candidates; among equals the one with the lowest draw.

    Their rewards may be equal: a tie is no pair, which is for the caller to see. Only `margin` passes over ties with
    the best and over what lies below `min_margin`, as long as there is something else.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.reward, candidate.draw))
    best, others = ordered[0], ordered[1:]
    if spec.choose == "random":
        chosen, rejected = sorted(in_random_order(candidates, prompt_id, spec.seed)[:2], key=ordered.index)
        return chosen, rejected
    if spec.choose == "best_random":
        return best, in_random_order(others, prompt_id, spec.seed)[0]
    if spec.target_margin is not None:
        return best, nearest_margin(best, others, spec.target_margin, spec.min_margin)
    return best, min(others, key=lambda candidate: (candidate.reward, candidate.draw))


def in_random_order(candidates: Sequence[Candidate], prompt_id: str, seed: int | None) -> list[Candidate]:
    """By a hash of seed, prompt and draw: no other prompt has a say in it."""

    def key(candidate: Candidate) -> str:
        return hashlib.sha256(f"{seed}\0{prompt_id}\0{candidate.draw}".encode()).hexdigest()

    return sorted(candidates, key=key)


def nearest_margin(best: Candidate, others: Sequence[Candidate], target: float, least: float) -> Candidate:
    """The one of `others` whose margin to `best` is nearest to `target`, among those that make a pair if there are."""
    margins = {other: best.reward - other.reward for other in others}
    possible = [other for other in others if margins[other] > 0 and margins[other] >= least]
    return min(possible or others, key=lambda other: (abs(margins[other] - target), other.draw))
