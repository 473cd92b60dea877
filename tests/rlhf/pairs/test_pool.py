"""Pairs from the responses of several policies."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given

from drawn_parts import PARTS, Draw, built, tables
from rlhf.base.artifacts import ArtifactError
from rlhf.base.names import Rows
from rlhf.pairs.building import Pairs, build
from rlhf.pairs.pool import Sampled, pooled
from rlhf.pairs.schema import PAIRS, POOLED_PAIRS, read_pair_table
from rlhf.pairs.settings import Choice, PairSpec

POLICIES = ["rebel-2", "base", "rebel-1"]


def sampled(part: list[list[Draw]], name: str = "own") -> tuple[pa.Table, Sampled]:
    prompts, responses, rewards = tables(part)
    return prompts, Sampled(responses, rewards, Path(f"{name}-responses.parquet"), Path(f"{name}-rewards.parquet"))


def built_of(parts: Sequence[list[list[Draw]]], choose: Choice = "best_worst") -> Pairs:
    """The pairs of a pool: a part per policy, of the same prompts."""
    found = [sampled(part, POLICIES[number]) for number, part in enumerate(parts)]
    spec = PairSpec(
        rows=Rows(start=0, stop=len(parts[0])),
        choose=choose,
        target_margin=None,
        min_margin=0.0,
        seed=None if choose == "best_worst" else 3,
        pool=POLICIES[: len(parts)],
    )
    return build(found[0][0], [member for _, member in found], spec)


def test_best_and_worst_of_all_policies_say_whose_they_are() -> None:
    own, base = [[Draw(1.0, (5,)), Draw(3.0, (6,))]], [[Draw(0.0, (7,)), Draw(2.0, (8,))]]
    (row,) = built_of([own, base]).table.to_pylist()
    chosen = (row["chosen_policy"], row["chosen_draw"], row["chosen_reward"], row["chosen_token_ids"])
    assert chosen == ("rebel-2", 1, 3.0, [6])
    assert (row["rejected_policy"], row["rejected_draw"], row["rejected_token_ids"]) == ("base", 0, [7])
    (other,) = built_of([base, own]).table.to_pylist()
    assert (other["chosen_policy"], other["rejected_policy"]) == ("base", "rebel-2")
    assert other["chosen_win_probability"] == row["chosen_win_probability"]


def test_ties_go_to_the_first_policy() -> None:
    (row,) = built_of([[[Draw(1.0), Draw(2.0)]], [[Draw(1.0), Draw(2.0)]]]).table.to_pylist()
    assert {row["chosen_policy"], row["rejected_policy"]} == {"rebel-2"}


def test_identical_responses_of_two_policies_are_no_pair() -> None:
    pairs = built_of([[[Draw(1.0, (5, 6))]], [[Draw(2.0, (5, 6))]]])
    assert len(pairs.table) == 0 and pairs.dropped["identical"] == 1
    assert pairs.table.schema == POOLED_PAIRS.schema


def test_a_single_candidate_of_each_policy_is_enough() -> None:
    cut = Draw(9.0, finish_reason="length")
    pairs = built_of([[[Draw(1.0, (5,)), cut]], [[Draw(2.0, (6,)), cut]]])
    assert len(pairs.table) == 1
    assert pairs.candidates_dropped == {"truncated": 2}


@given(PARTS)
def test_a_pool_of_one_policy_is_that_policy_alone(part: list[list[Draw]]) -> None:
    alone, pool = built(*tables(part)), built_of([part])
    assert pool.table.select(PAIRS.schema.names).equals(alone.table)
    assert (pool.dropped, pool.candidates_dropped) == (alone.dropped, alone.candidates_dropped)


@given(PARTS)
def test_candidates_have_numbers_and_rows_of_their_own(part: list[list[Draw]]) -> None:
    prompts, own = sampled(part)
    pool = pooled(prompts, [own, own, own])
    rows = pool.responses.to_pylist()
    for prompt, candidates in pool.candidates.items():
        assert len({candidate.draw for candidate in candidates}) == len(candidates)
        for candidate in candidates:
            position, draw = pool.policy_and_draw(candidate.draw)
            assert candidate.row // len(own.responses) == position
            assert (rows[candidate.row]["prompt_id"], rows[candidate.row]["draw"]) == (prompt, draw)


def test_random_pairs_are_drawn_from_all_policies() -> None:
    own = [[Draw(float(number), (number, 1)), Draw(number + 0.5, (number, 2))] for number in range(40)]
    base = [[Draw(number + 0.2, (number, 3)), Draw(number + 0.7, (number, 4))] for number in range(40)]
    rows = built_of([own, base], choose="random").table.to_pylist()
    drawn = {(row["chosen_policy"], row["rejected_policy"]) for row in rows}
    assert drawn == {(chosen, rejected) for chosen in POLICIES[:2] for rejected in POLICIES[:2]}


def test_a_reward_without_a_response_names_its_own_file() -> None:
    prompts, own = sampled([[Draw(1.0), Draw(2.0)]])
    _, more = sampled([[Draw(1.0), Draw(2.0), Draw(3.0)]])
    wrong = Sampled(own.responses, more.rewards, Path("base-responses.parquet"), Path("base-rewards.parquet"))
    with pytest.raises(ArtifactError, match=r"base-rewards\.parquet: row 2: there is no response"):
        pooled(prompts, [own, wrong])


def test_both_kinds_of_pairs_are_read_and_no_other(tmp_path: Path) -> None:
    pool = built_of([[[Draw(1.0), Draw(2.0)]], [[Draw(0.0, (8,)), Draw(5.0, (9,))]]]).table
    POOLED_PAIRS.write(tmp_path / "pool.parquet", pool, {"spec": {"pool": POLICIES[:2]}})
    PAIRS.write(tmp_path / "own.parquet", pool.select(PAIRS.schema.names), {"spec": {}})
    found = [read_pair_table(tmp_path / f"{name}.parquet", ["chosen_reward"]) for name in ("pool", "own")]
    assert found[0].equals(found[1])
    assert read_pair_table(tmp_path / "pool.parquet").column_names[-1] == "rejected_policy"
    with pytest.raises(ArtifactError, match="there is no such file"):
        read_pair_table(tmp_path / "none.parquet")
