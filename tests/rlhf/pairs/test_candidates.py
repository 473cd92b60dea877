"""Which responses may become part of a pair, and files that do not match."""

import numpy as np
import pyarrow as pa
import pytest

from drawn_parts import Draw, built, one_prompt, tables
from rlhf.base.artifacts import ArtifactError


def test_bad_candidates_are_dropped_but_not_the_prompt() -> None:
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


def drop_row(table: pa.Table, row: int) -> pa.Table:
    return table.take(pa.array([index for index in range(len(table)) if index != row], pa.int64()))


def with_value(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_mismatched_inputs_are_an_error_with_file_and_row() -> None:
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
            r"^responses\.parquet: row 2: prompt_id 'p1' is not among the part's 1 prompts",
        ),
        ((prompts, with_value(responses, "finish_reason", 3, "eos"), rewards), r"^responses\.parquet: row 3:.*'eos'"),
        ((prompts, responses, with_value(rewards, "reward", 1, None)), r"^rewards\.parquet: row 1: reward is null"),
    ]
    for arguments, message in cases:
        with pytest.raises(ArtifactError, match=message):
            built(*arguments)
