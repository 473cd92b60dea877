"""Which responses are examples, what each gets beside it, and what is counted."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_parts import PARTS, RESPONSES_PATH, REWARDS_PATH, Draw, tables
from random_examples import example_rows
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.examples.building import FEW_RESPONSES, Examples, build, require_both_kinds
from rlhf.examples.schema import EXAMPLES, Example, ExampleTable
from rlhf.examples.settings import ExampleSpec


def spec(above: float = 1.0, below: float = 0.0, seed: int = 3) -> ExampleSpec:
    return ExampleSpec(rows=Rows(start=0, stop=1), desirable_above=above, undesirable_below=below, seed=seed)


def built(part: list[list[Draw]], settings: ExampleSpec) -> Examples:
    return build(*tables(part), RESPONSES_PATH, REWARDS_PATH, settings)


def test_rewards_above_and_below_the_thresholds_are_examples_and_those_at_or_between_them_are_not() -> None:
    part = [[Draw(1.5), Draw(1.0), Draw(0.5)], [Draw(0.0), Draw(-0.5), Draw(None, invalid="too_long")]]
    part[0].append(Draw(9.0, finish_reason="length"))
    found = built(part, spec())
    first, second = found.table.to_pylist()
    assert (first["prompt_id"], first["draw"], first["desirable"], first["reward"]) == ("p0", 0, True, 1.5)
    assert (first["prompt_token_ids"], first["response_token_ids"], first["response"]) == (
        [1, 0],
        [0, 0],
        "response 0 0",
    )
    assert (second["prompt_id"], second["draw"], second["desirable"], second["reward"]) == ("p1", 1, False, -0.5)
    assert (first["other_prompt_id"], first["other_draw"], first["other_token_ids"]) == ("p1", 1, [1, 1])
    assert (second["other_prompt_id"], second["other_draw"], second["other_token_ids"]) == ("p0", 0, [0, 0])
    dropped = {"too_long": 1, "truncated": 1, "between_thresholds": 3, "no_other_prompt": 0}
    assert found.counts == {"responses": 7, "examples": 2, "desirable": 1, "undesirable": 1, "dropped": dropped}
    assert found.quantiles["lowest"] == -0.5 and found.quantiles["median"] == 0.5


def test_examples_of_a_single_prompt_have_no_other_response() -> None:
    found = built([[Draw(2.0), Draw(-1.0)], [Draw(0.5)]], spec())
    assert len(found.table) == 0 and found.table.schema == EXAMPLES.schema
    assert found.dropped == {"between_thresholds": 1, "no_other_prompt": 2}


UNREAD = ["other_prompt_id", "other_draw", "response"]
THRESHOLDS = st.floats(-50, 50, width=32)


@settings(max_examples=150)
@given(PARTS, THRESHOLDS, THRESHOLDS, st.integers(0, 5))
def test_properties_of_any_part(part: list[list[Draw]], one: float, other: float, seed: int) -> None:
    found = built(part, spec(max(one, other), min(one, other), seed))
    rows = found.table.to_pylist()
    keys = [(row["prompt_id"], row["draw"]) for row in rows]
    assert sum(found.dropped.values()) + len(rows) == found.responses == sum(map(len, part))
    assert found.desirable + found.undesirable == len(rows)
    assert keys == sorted(keys)
    scored = {(f"p{p}", d): draw for p, draws in enumerate(part) for d, draw in enumerate(draws)}
    for row in rows:
        own, mismatched = (scored[row[f"{side}prompt_id"], row[f"{side}draw"]] for side in ("", "other_"))
        assert row["prompt_id"] != row["other_prompt_id"]
        assert own.finish_reason == mismatched.finish_reason == "stop"
        assert row["reward"] == own.reward
        assert row["desirable"] == (own.reward > max(one, other))
        assert row["desirable"] or own.reward < min(one, other)
        assert row["other_token_ids"] == list(mismatched.ids or (int(row["other_prompt_id"][1:]), row["other_draw"]))
    taken = Counter((row["other_prompt_id"], row["other_draw"]) for row in rows)
    of_prompts = Counter(prompt for prompt, _ in keys)
    if rows and max(of_prompts.values()) * 2 <= len(rows):
        assert taken == Counter(keys)  # the mismatched responses are the responses, beside other prompts
    else:
        assert set(taken) <= set(keys)
    assert found.table.equals(build(*map(shuffled, tables(part), [0, 1, 1]), RESPONSES_PATH, REWARDS_PATH,
                                    spec(max(one, other), min(one, other), seed)).table)  # fmt: skip


def shuffled(table: object, how: int) -> object:
    """The rows in another order, but for the prompts."""
    order = np.random.default_rng(7).permutation(len(table)) if how else np.arange(len(table))  # type: ignore[arg-type]
    return table.take(order)  # type: ignore[attr-defined]


def test_another_seed_puts_others_beside_the_prompts() -> None:
    part = [[Draw(2.0), Draw(-1.0)] for _ in range(6)]
    first, second = (built(part, spec(seed=seed)).table for seed in (1, 2))
    assert first.drop(["other_prompt_id", "other_token_ids"]).equals(
        second.drop(["other_prompt_id", "other_token_ids"])
    )
    assert not first["other_prompt_id"].equals(second["other_prompt_id"])


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (0.5, "no response is desirable: `examples.desirable_above` is 1, .* lowest 0.5, 10 % 0.5, .* highest 0.5"),
        (2.0, "no response is undesirable: `examples.undesirable_below` is 0, .* median 2,"),
        (None, r"none of 60 responses can be an example \(60 too_long\)"),
    ],
)
def test_a_part_with_one_kind_alone_is_refused_with_the_distribution(reward: float | None, said: str) -> None:
    for responses in (FEW_RESPONSES, FEW_RESPONSES - 1):
        part = [[Draw(reward, invalid=None if reward else "too_long")] for _ in range(responses)]
        found = built(part, spec())
        if responses < FEW_RESPONSES:
            require_both_kinds(found, spec(), "part")
        else:
            with pytest.raises(UserError, match=f"^part: {said}"):
                require_both_kinds(found, spec(), "part")


def test_rows_as_objects() -> None:
    rows = example_rows(7)
    table = ExampleTable(pa.Table.from_pylist(rows, schema=EXAMPLES.schema).drop(UNREAD))
    assert len(table) == 7 and len(table[2:5]) == 3
    assert isinstance(table[-1], Example)
    for row, example in zip(rows, table, strict=True):
        assert (example.prompt_id, example.draw, example.desirable) == (row["prompt_id"], row["draw"], row["desirable"])
        assert list(example.both.prompt) == row["prompt_token_ids"]
        assert [list(ids) for ids in example.both.responses] == [row["response_token_ids"], row["other_token_ids"]]
        assert list(example.mismatched.responses[0]) == row["other_token_ids"]
        assert list(example.prompt_group.responses[0]) == row["response_token_ids"]
    lengths = [sum(len(row[f"{name}_token_ids"]) for name in ("prompt", "response", "other")) for row in rows]
    assert table.longest == max(lengths)
    with pytest.raises(IndexError):
        table[7]
