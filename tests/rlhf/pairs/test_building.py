"""The pair of each prompt, and what is counted where there is none."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.artifacts import ArtifactError
from rlhf.base.names import Rows
from rlhf.pairs.building import DROP_REASONS, Pairs, build, win_probability
from rlhf.pairs.choice import Candidate
from rlhf.pairs.schema import PAIRS
from rlhf.pairs.settings import DRAWN_CHOICES, Choice, PairSpec
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS

RESPONSES_PATH, REWARDS_PATH = Path("responses.parquet"), Path("rewards.parquet")


@dataclasses.dataclass(frozen=True)
class Draw:
    """A response to a prompt and its reward."""

    reward: float | None
    ids: tuple[int, ...] = ()
    finish_reason: str = "stop"
    invalid: str | None = None


FINITE = st.floats(-100, 100, width=32)
SCORES = st.one_of(FINITE, st.sampled_from([0.0, -0.0, 1.0, 2.0]))
DRAWS = st.one_of(
    st.builds(Draw, SCORES, st.tuples(st.integers(0, 3)), st.sampled_from(["stop", "stop", "length"])),
    st.builds(Draw, st.none(), invalid=st.sampled_from(["too_long", "empty"])),
)
PARTS = st.lists(st.lists(DRAWS, min_size=0, max_size=5), min_size=0, max_size=6)


def tables(part: list[list[Draw]]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Prompts, responses and rewards of a part."""
    prompts: list[dict[str, Any]] = []
    responses: list[dict[str, Any]] = []
    rewards: list[dict[str, Any]] = []
    for number, draws in enumerate(part):
        prompts.append({"prompt_id": f"p{number}", "prompt": f"prompt {number}", "prompt_token_ids": [1, number]})
        for index, draw in enumerate(draws):
            key = {"prompt_id": f"p{number}", "draw": index}
            ids = list(draw.ids or (number, index))
            text = f"response {number} {index}"
            reason = draw.finish_reason
            responses.append({**key, "response": text, "response_token_ids": ids, "finish_reason": reason, "seed": 1})
            rewards.append({**key, "reward": draw.reward, "invalid": draw.invalid, "objectives": None})
    artifacts = ((PROMPTS, prompts), (RESPONSES, responses), (REWARDS, rewards))
    made = [pa.Table.from_pylist(rows, schema=artifact.schema) for artifact, rows in artifacts]
    return made[0], made[1], made[2]


def built(
    prompts: pa.Table,
    responses: pa.Table,
    rewards: pa.Table,
    min_margin: float = 0.0,
    choose: Choice = "best_worst",
) -> Pairs:
    spec = PairSpec(
        rows=Rows(start=0, stop=len(prompts)),
        choose=choose,
        target_margin=1.0 if choose == "margin" else None,
        min_margin=min_margin,
        seed=3 if choose in DRAWN_CHOICES else None,
    )
    return build(prompts, responses, rewards, spec, responses_path=RESPONSES_PATH, rewards_path=REWARDS_PATH)


def one_prompt(*draws: Draw, min_margin: float = 0.0) -> Pairs:
    return built(*tables([list(draws)]), min_margin)


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


def test_bad_candidates_are_dropped_and_the_prompt_stays() -> None:
    pairs = one_prompt(
        Draw(9.0, finish_reason="length"),
        Draw(None, invalid="too_long"),
        Draw(1.0),
        Draw(None, invalid="too_long", finish_reason="length"),
        Draw(2.0),
    )
    (row,) = pairs.table.to_pylist()
    assert (row["chosen_draw"], row["rejected_draw"]) == (4, 2)
    assert pairs.candidates_dropped == {"truncated": 2, "too_long": 1}
    assert row["chosen_win_probability"] == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-7)
    assert row["chosen_win_probability"] + row["rejected_win_probability"] == pytest.approx(1.0)


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


def drop_row(table: pa.Table, row: int) -> pa.Table:
    return table.take(pa.array([index for index in range(len(table)) if index != row], pa.int64()))


def with_value(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_what_does_not_match_is_an_error_with_file_and_row() -> None:
    prompts, responses, rewards = tables([[Draw(1.0), Draw(2.0)], [Draw(3.0), Draw(4.0)]])
    cases = [
        (
            (prompts, responses, drop_row(rewards, 2)),
            r"^responses\.parquet: row 2: rewards\.parquet has no reward.*'p1'.*0",
        ),
        ((prompts, drop_row(responses, 3), rewards), r"^rewards\.parquet: row 3: there is no response.*'p1'.*draw 1"),
        ((prompts, responses, with_value(rewards, "prompt_id", 1, "px")), r"^rewards\.parquet: row 1:.*'px'"),
        (
            (prompts.slice(0, 1), responses, rewards),
            r"^responses\.parquet: row 2: prompt_id 'p1' is none of the part's 1 prompts",
        ),
        ((prompts, with_value(responses, "finish_reason", 3, "eos"), rewards), r"^responses\.parquet: row 3:.*'eos'"),
        ((prompts, responses, with_value(rewards, "reward", 1, None)), r"^rewards\.parquet: row 1: reward is null"),
    ]
    for arguments, message in cases:
        with pytest.raises(ArtifactError, match=message):
            built(*arguments)


def test_permutations_of_draws_change_only_their_numbers() -> None:
    for order in itertools.permutations([(1.0, (7,)), (5.0, (8,)), (3.0, (9,))]):
        (row,) = one_prompt(*(Draw(reward, ids) for reward, ids in order)).table.to_pylist()
        assert (row["chosen_token_ids"], row["rejected_token_ids"]) == ([8], [7])
