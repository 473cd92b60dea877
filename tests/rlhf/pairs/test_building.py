"""The pair of each prompt, and the counts of prompts without one."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_parts import FINITE, PARTS, Draw, built, one_prompt, tables
from rlhf.pairs.building import DROP_REASONS, win_probability
from rlhf.pairs.choice import Candidate
from rlhf.pairs.schema import PAIRS, artifact_of_pairs
from rlhf.pairs.settings import Choice


def test_best_and_worst_response_are_the_pair() -> None:
    (row,) = one_prompt(Draw(1.0), Draw(4.0), Draw(-2.0), Draw(3.0)).table.to_pylist()
    assert (row["prompt_id"], row["prompt_token_ids"]) == ("p0", [1, 0])
    assert (row["chosen"], row["chosen_draw"], row["chosen_reward"]) == ("response 0 1", 1, 4.0)
    assert (row["rejected"], row["rejected_draw"], row["rejected_reward"]) == ("response 0 2", 2, -2.0)
    assert (row["chosen_token_ids"], row["rejected_token_ids"]) == ([0, 1], [0, 2])
    rewards = np.array([1.0, 4.0, -2.0, 3.0])
    wins = 1 / (1 + np.exp(rewards[None, :] - rewards[:, None]))
    expected = (wins.sum(axis=1) - 0.5) / 3  # without the comparison with itself
    assert row["chosen_win_probability"] == pytest.approx(expected[1], abs=1e-7)
    assert row["rejected_win_probability"] == pytest.approx(expected[2], abs=1e-7)


def test_ties_go_to_the_lowest_draw() -> None:
    (row,) = one_prompt(Draw(0.0), Draw(2.0), Draw(0.0), Draw(2.0)).table.to_pylist()
    assert (row["chosen_draw"], row["rejected_draw"]) == (1, 0)


@pytest.mark.parametrize(
    ("draws", "min_margin", "reason"),
    [
        ((), 0.0, "no_two_candidates"),
        ((Draw(1.0),), 0.0, "no_two_candidates"),
        ((Draw(1.0), Draw(2.0, finish_reason="length")), 0.0, "no_two_candidates"),
        ((Draw(None, invalid="too_long"), Draw(None, invalid="too_long")), 0.0, "no_two_candidates"),
        ((Draw(1.0), Draw(1.0), Draw(1.0)), 0.0, "tie"),
        ((Draw(0.0), Draw(-0.0)), 0.0, "tie"),
        ((Draw(1.0, (5, 6)), Draw(2.0, (5, 6))), 5.0, "identical"),
        ((Draw(1.0), Draw(2.0)), 1.5, "below_margin"),
    ],
)
def test_each_reason(draws: tuple[Draw, ...], min_margin: float, reason: str) -> None:
    pairs = one_prompt(*draws, min_margin=min_margin)
    assert len(pairs.table) == 0 and pairs.table.schema == PAIRS.schema
    assert pairs.dropped == {name: int(name == reason) for name in DROP_REASONS}


def test_margin_at_the_limit_is_a_pair() -> None:
    assert len(one_prompt(Draw(1.0), Draw(2.5), min_margin=1.5).table) == 1


def test_extreme_rewards_have_a_win_probability() -> None:
    (row,) = one_prompt(Draw(3e38), Draw(-3e38)).table.to_pylist()
    assert (row["chosen_win_probability"], row["rejected_win_probability"]) == (1.0, 0.0)


def test_no_prompts_and_no_pairs_are_valid() -> None:
    assert built(*tables([])).counts["pairs"] == 0


def test_rows_keep_the_order_of_the_prompts() -> None:
    pairs = built(*tables([[Draw(1.0), Draw(2.0)]] * 12))
    assert pairs.table["prompt_id"].to_pylist() == [f"p{number}" for number in range(12)]


def test_each_choice_makes_its_own_pair() -> None:
    draws = [Draw(float(reward)) for reward in (0, 9, 8, 1, 2, 3, 4, 5, 6)]
    part = tables([draws] * 40)
    drawn: dict[Choice, set[tuple[int, int]]] = {}
    choices: tuple[Choice, ...] = ("best_worst", "margin", "best_random", "random")
    for choose in choices:
        rows = built(*part, choose=choose).table.to_pylist()
        assert len(rows) == 40
        drawn[choose] = {(row["chosen_draw"], row["rejected_draw"]) for row in rows}
    assert drawn["best_worst"] == {(1, 0)} and drawn["margin"] == {(1, 2)}
    assert {best for best, _ in drawn["best_random"]} == {1} and len(drawn["best_random"]) == 8
    assert len({chosen for chosen, _ in drawn["random"]}) > 4


def test_prompts_without_a_response_are_counted_and_the_others_stay() -> None:
    pairs = built(*tables([[], [Draw(1.0), Draw(2.0)], []]))
    assert pairs.table["prompt_id"].to_pylist() == ["p1"]
    assert pairs.counts["dropped"] == {"no_two_candidates": 2, "tie": 0, "identical": 0, "below_margin": 0}


@given(
    part=PARTS,
    min_margin=st.sampled_from([0.0, 0.5, 1.0, 30.0]),
    choose=st.sampled_from(["best_worst", "best_random", "random", "margin"]),
    data=st.data(),
)
@settings(deadline=None, max_examples=300)
def test_properties(part: list[list[Draw]], min_margin: float, choose: Choice, data: st.DataObject) -> None:
    prompts, responses, rewards = tables(part)
    pairs = built(prompts, responses, rewards, min_margin, choose)
    PAIRS.check(pairs.table, Path("pairs.parquet"))
    assert len(pairs.table) + sum(pairs.dropped.values()) == len(part)
    valid = {
        f"p{number}": {
            index: draw.reward
            for index, draw in enumerate(draws)
            if draw.finish_reason == "stop" and draw.reward is not None
        }
        for number, draws in enumerate(part)
    }
    assert sum(map(len, valid.values())) + sum(pairs.candidates_dropped.values()) == sum(map(len, part))
    for row in pairs.table.to_pylist():
        scores = valid[row["prompt_id"]]
        assert row["chosen_reward"] - row["rejected_reward"] >= min_margin
        assert row["chosen_reward"] > row["rejected_reward"]
        assert row["chosen_token_ids"] != row["rejected_token_ids"]
        assert scores[row["chosen_draw"]] == row["chosen_reward"]
        assert scores[row["rejected_draw"]] == row["rejected_reward"]
        assert 1 >= row["chosen_win_probability"] >= row["rejected_win_probability"] >= 0
        if choose != "random":
            assert row["chosen_reward"] == max(scores.values()) and row["chosen_win_probability"] >= 0.5
        if choose == "best_worst":
            assert row["rejected_reward"] == min(scores.values()) and row["rejected_win_probability"] <= 0.5
    shuffled_responses, shuffled_rewards = (
        table.take(pa.array(data.draw(st.permutations(range(len(table)))), pa.int64()))
        for table in (responses, rewards)
    )
    again = built(prompts, shuffled_responses, shuffled_rewards, min_margin, choose)
    assert again.table.equals(pairs.table) and again.counts == pairs.counts


@given(scores=st.lists(FINITE, min_size=2, max_size=6))
@settings(deadline=None)
def test_win_probabilities_of_all_draws_average_to_a_half(scores: list[float]) -> None:
    candidates = [Candidate(draw, score, draw) for draw, score in enumerate(scores)]
    wins = [win_probability(candidate, candidates) for candidate in candidates]
    assert np.mean(wins) == pytest.approx(0.5)
    assert wins[int(np.argmax(scores))] == pytest.approx(max(wins))
    assert wins[int(np.argmin(scores))] == pytest.approx(min(wins))


def test_permutations_of_draws_change_only_their_numbers() -> None:
    for order in itertools.permutations([(1.0, (7,)), (5.0, (8,)), (3.0, (9,))]):
        (row,) = one_prompt(*(Draw(reward, ids) for reward, ids in order)).table.to_pylist()
        assert (row["chosen_token_ids"], row["rejected_token_ids"]) == ([8], [7])


# --- several pairs per prompt


def test_the_best_response_against_each_of_the_others() -> None:
    pairs = one_prompt(Draw(1.0), Draw(4.0), Draw(-2.0), Draw(3.0), Draw(4.0), per_prompt=4)
    rows = pairs.table.to_pylist()
    assert [(row["chosen_draw"], row["rejected_draw"]) for row in rows] == [(1, 2), (1, 0), (1, 3)]
    assert {(row["prompt_id"], row["chosen_reward"], row["chosen"]) for row in rows} == {("p0", 4.0, "response 0 1")}
    assert [row["rejected_reward"] for row in rows] == [-2.0, 1.0, 3.0]
    assert len({row["chosen_win_probability"] for row in rows}) == 1  # over all draws, whatever the pair
    assert pairs.counts == {
        "prompts": 1,
        "paired_prompts": 1,
        "pairs": 3,
        "dropped": dict.fromkeys(DROP_REASONS, 0),
        "pairs_dropped": {"tie": 1, "identical": 0, "below_margin": 0},
        "candidates_dropped": {},
    }


def test_a_prompt_is_dropped_for_the_reason_of_its_first_pair() -> None:
    draws = (Draw(3.0, (1, 2)), Draw(1.0, (1, 2)), Draw(2.5), Draw(3.0))
    pairs = one_prompt(*draws, min_margin=1.0, per_prompt=3)
    assert pairs.dropped["identical"] == 1 and sum(pairs.dropped.values()) == 1
    assert pairs.pairs_dropped == {"tie": 1, "identical": 1, "below_margin": 1}
    assert len(pairs.table) == 0


@given(
    part=PARTS,
    min_margin=st.sampled_from([0.0, 0.5, 30.0]),
    choose=st.sampled_from(["best_worst", "all"]),
    per_prompt=st.integers(2, 12),
)
@settings(deadline=None, max_examples=200)
def test_several_pairs_are_those_of_a_slow_search(
    part: list[list[Draw]], min_margin: float, choose: Choice, per_prompt: int
) -> None:
    """All pairs of draws, in order of their margins, and what is left of the first ones."""
    pairs = built(*tables(part), min_margin, choose, per_prompt)
    artifact_of_pairs(pooled=False, per_prompt=per_prompt).check(pairs.table, Path("pairs.parquet"))
    expected, dropped, without = [], dict.fromkeys(DROP_REASONS[1:], 0), dict.fromkeys(DROP_REASONS, 0)
    for number, draws in enumerate(part):
        usable = [i for i, draw in enumerate(draws) if draw.finish_reason == "stop" and draw.reward is not None]
        by_reward = sorted(usable, key=lambda i: (-(draws[i].reward or 0.0), i))
        both = [(i, j) for place, i in enumerate(by_reward) for j in by_reward[place + 1 :]]
        if choose == "best_worst":
            both = [(i, j) for i, j in both if i == by_reward[0]]
            both.sort(key=lambda pair: (draws[pair[1]].reward, pair[1]))
        else:
            both.sort(key=lambda pair: (draws[pair[1]].reward or 0.0) - (draws[pair[0]].reward or 0.0))
        reasons = [reason_of(draws[i], draws[j], (number, i), (number, j), min_margin) for i, j in both[:per_prompt]]
        kept = [pair for pair, reason in zip(both, reasons, strict=False) if reason is None]
        expected += [(f"p{number}", *pair) for pair in kept]
        for reason in filter(None, reasons):
            dropped[reason] += 1
        if not kept:
            without[reasons[0] or "" if reasons else "no_two_candidates"] += 1
    rows = pairs.table.to_pylist()
    assert [(row["prompt_id"], row["chosen_draw"], row["rejected_draw"]) for row in rows] == expected
    assert (pairs.pairs_dropped, pairs.dropped) == (dropped, without)
    assert pairs.counts["paired_prompts"] == len({row["prompt_id"] for row in rows})
    assert pairs.counts["paired_prompts"] == len(part) - sum(without.values())


def reason_of(one: Draw, other: Draw, ids: tuple[int, int], other_ids: tuple[int, int], margin: float) -> str | None:
    assert one.reward is not None and other.reward is not None
    if one.reward == other.reward:
        return "tie"
    if (one.ids or ids) == (other.ids or other_ids):
        return "identical"
    return "below_margin" if one.reward - other.reward < margin else None


@given(part=PARTS, choose=st.sampled_from(["best_worst", "best_random", "random", "margin"]))
@settings(deadline=None)
def test_the_first_of_several_pairs_is_the_only_one_of_one(part: list[list[Draw]], choose: Choice) -> None:
    alone, several = built(*tables(part), choose=choose), built(*tables(part), choose=choose, per_prompt=10)
    assert alone.counts.keys() == {"prompts", "pairs", "dropped", "candidates_dropped"}
    assert alone.table.schema == several.table.schema
    rows = {(row["prompt_id"], row["chosen_draw"], row["rejected_draw"]): row for row in several.table.to_pylist()}
    for row in alone.table.to_pylist():
        assert rows[row["prompt_id"], row["chosen_draw"], row["rejected_draw"]] == row
