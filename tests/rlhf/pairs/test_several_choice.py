"""Which of a prompt's candidates become its several pairs."""

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pair_candidates import (
    CHOICES,
    PROMPT_IDS,
    REWARDS,
    best_of,
    better,
    candidates,
    chi_square,
    choose_pair,
    in_hash_order,
    spec,
)
from rlhf.pairs.choice import Candidate, ChosenPair, choose_pairs
from rlhf.pairs.settings import PairSettings

SEVERAL = (*CHOICES, "all")


def every_pair(found: list[Candidate]) -> list[ChosenPair]:
    """All ordered pairs, by comparing each candidate with each."""
    return [(one, other) for one in found for other in found if better(one, other)]


def chosen(found: list[Candidate], choose: str, count: int, prompt_id: str = "p", **changes: Any) -> list[ChosenPair]:
    return choose_pairs(found, prompt_id, spec(choose, per_prompt=count, **changes))


@given(rewards=REWARDS, choose=st.sampled_from(SEVERAL), count=st.integers(2, 30), data=st.data())
@settings(deadline=None)
def test_several_pairs_begin_with_the_only_one_and_are_all_different(
    rewards: list[float], choose: str, count: int, data: st.DataObject
) -> None:
    found = candidates(rewards)
    pairs, possible = chosen(found, choose, count), every_pair(found)
    if choose not in ("random", "all"):
        possible = [pair for pair in possible if pair[0] == best_of(found)]
    assert len(pairs) == len(set(pairs)) == min(count, len(possible))
    assert set(pairs) <= set(possible)
    assert pairs[0] == choose_pair(found, "p", spec("best_worst" if choose == "all" else choose))
    assert chosen(found, choose, 99)[: len(pairs)] == pairs
    assert chosen(data.draw(st.permutations(found)), choose, count) == pairs


def test_all_pairs_begin_with_the_best_and_the_worst_where_margins_round_to_the_same() -> None:
    found = candidates([0.0, 1.0, 1e-45])
    assert chosen(found, "all", 2) == [(found[1], found[0]), (found[1], found[2])]


@given(rewards=REWARDS, count=st.integers(2, 12))
@settings(deadline=None)
def test_the_best_is_paired_with_the_lowest_first(rewards: list[float], count: int) -> None:
    found = candidates(rewards)
    others = [one for one in found if one != best_of(found)]
    lowest_first = sorted(others, key=lambda one: (one.reward, one.draw))
    assert [rejected for _, rejected in chosen(found, "best_worst", count)] == lowest_first[:count]


@given(rewards=REWARDS, count=st.integers(2, 12))
@settings(deadline=None)
def test_all_pairs_have_the_largest_margins_first(rewards: list[float], count: int) -> None:
    found = candidates(rewards)
    taken = chosen(found, "all", count)
    margins = [one.reward - other.reward for one, other in taken]
    assert margins == sorted(margins, reverse=True)
    left = set(every_pair(found)) - set(taken)
    assert all(one.reward - other.reward <= margins[-1] for one, other in left)


@given(rewards=REWARDS, count=st.integers(2, 12), target=st.sampled_from([0.5, 2.5]), least=st.sampled_from([0.0, 4.0]))
@settings(deadline=None)
def test_margins_nearest_to_the_target_come_first_and_no_pairs_last(
    rewards: list[float], count: int, target: float, least: float
) -> None:
    found = candidates(rewards)
    taken = chosen(found, "margin", count, target_margin=target, min_margin=least)
    margins = [one.reward - other.reward for one, other in taken]
    pairs = [margin > 0 and margin >= least for margin in margins]
    assert pairs == sorted(pairs, reverse=True)
    distances = [abs(margin - target) for margin, pair in zip(margins, pairs, strict=True) if pair]
    assert distances == sorted(distances)


@given(rewards=REWARDS, seed=st.integers(0, 9), count=st.integers(2, 6))
@settings(deadline=None)
def test_the_best_and_several_at_random(rewards: list[float], seed: int, count: int) -> None:
    found = candidates(rewards)
    others = [one for one in in_hash_order(found, "p", seed) if one != best_of(found)]
    assert [rejected for _, rejected in chosen(found, "best_random", count, seed=seed)] == others[:count]


def test_several_random_pairs_are_uniform() -> None:
    """Of 5 candidates 3 of 10 pairs: chi-square of 9 degrees of freedom for each pair, and of 44 for each two."""
    found = candidates([2.0, 5.0, 1.0, 1.0, 4.0])
    drawn = [frozenset(chosen(found, "random", 3, prompt)) for prompt in PROMPT_IDS]
    pairs = Counter(pair for each in drawn for pair in each)
    assert len(pairs) == 10 and chi_square(pairs, 10) < 27.9
    twos = Counter(frozenset(two) for each in drawn for two in itertools.combinations(each, 2))
    assert len(twos) == 45 and chi_square(twos, 45) < 78.7


def test_all_goes_with_several_pairs_only() -> None:
    assert PairSettings(choose="all", per_prompt=2).most_responses(5) == 4
    for section in (PairSettings, lambda **values: spec(**values)):
        with pytest.raises(ValidationError, match="`choose: all` with `per_prompt: 1` is `best_worst`"):
            section(choose="all")
    for number in (0, -1, 1.5):
        with pytest.raises(ValidationError):
            PairSettings.model_validate({"per_prompt": number})


@given(rewards=REWARDS, choose=st.sampled_from(SEVERAL), count=st.integers(2, 30))
@settings(deadline=None)
def test_pairs_and_responses_are_at_most_what_is_planned_for(rewards: list[float], choose: str, count: int) -> None:
    found = candidates(rewards)
    planned = PairSettings(choose=choose, per_prompt=count, target_margin=1.0 if choose == "margin" else None)
    pairs = chosen(found, choose, count)
    assert len(pairs) == min(count, planned.most_pairs(len(found)))
    assert len({one for pair in pairs for one in pair}) <= planned.most_responses(len(found))
