"""Candidates of a prompt, and what is expected of a choice among them."""

import hashlib
from collections import Counter
from typing import Any

from hypothesis import strategies as st

from rlhf.base.names import Rows
from rlhf.pairs.choice import Candidate, ChosenPair, choose_pairs
from rlhf.pairs.settings import DRAWN_CHOICES, PairSpec

CHOICES = ("best_worst", "best_random", "random", "margin")
# Few values, so that there are ties.
REWARDS = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-10, 10, width=32)), min_size=2, max_size=7)
PROMPT_IDS = [f"prompt {number}" for number in range(3000)]


def spec(choose: str, **changes: Any) -> PairSpec:
    values = {
        "rows": Rows(start=0, stop=1),
        "choose": choose,
        "target_margin": 1.0 if choose == "margin" else None,
        "min_margin": 0.0,
        "seed": 7 if choose in DRAWN_CHOICES else None,
    }
    return PairSpec.model_validate({**values, **changes})


def choose_pair(found: list[Candidate], prompt_id: str, settings: PairSpec) -> ChosenPair:
    """The only pair."""
    (pair,) = choose_pairs(found, prompt_id, settings)
    return pair


def candidates(rewards: list[float]) -> list[Candidate]:
    """With draws that are neither 0, 1, ... nor the rows."""
    return [Candidate(3 * draw + 1, reward, 100 - draw) for draw, reward in enumerate(rewards)]


def in_hash_order(found: list[Candidate], prompt_id: str, seed: int) -> list[Candidate]:
    return sorted(found, key=lambda c: hashlib.sha256(f"{seed}\0{prompt_id}\0{c.draw}".encode()).digest())


def better(one: Candidate, other: Candidate) -> bool:
    return one.reward > other.reward or (one.reward == other.reward and one.draw < other.draw)


def best_of(found: list[Candidate]) -> Candidate:
    (best,) = [one for one in found if all(better(one, other) for other in found if other != one)]
    return best


def chi_square(counts: Counter[Any], outcomes: int) -> float:
    expected = counts.total() / outcomes
    assert len(counts) <= outcomes
    return sum((count - expected) ** 2 for count in counts.values()) / expected + (outcomes - len(counts)) * expected
