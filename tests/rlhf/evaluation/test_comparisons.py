"""Comparison files of any origin: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import DamagedError
from rlhf.evaluation.comparisons import read_comparisons
from rlhf.evaluation.schema import COMPARISONS

ROW: dict[str, Any] = {"policy": "m", "prompt_id": "a", "preference": 0.25, "length": 7, "reference_length": 4}


def write(path: Path, *rows: dict[str, Any], **types: pa.DataType) -> Path:
    table = pa.Table.from_pylist(list(rows))
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path)
    return path


def test_rows_come_by_judge_and_policy_in_the_order_of_prompts(tmp_path: Path) -> None:
    first = write(tmp_path / "1", ROW | {"prompt_id": "b"}, ROW | {"policy": "n", "judge": "gpt"}, ROW | {"length": 1})
    second = write(tmp_path / "2", ROW | {"prompt_id": "aa", "preference": 1.0})
    found = read_comparisons([first, second])
    assert {judge: list(policies) for judge, policies in found.items()} == {"judge": ["m", "n"]}
    of_m = found["judge"]["m"]
    assert of_m.prompt_ids.tolist() == ["a", "aa", "b"]
    assert of_m.preferences.tolist() == [0.25, 1.0, 0.25]
    assert of_m.length_differences.tolist() == [-3.0, 3.0, 3.0]


def test_judges_are_kept_apart(tmp_path: Path) -> None:
    found = read_comparisons([write(tmp_path / "1", *(ROW | {"judge": judge} for judge in ("gpt", "armo", "gpt")))])
    assert {judge: len(policies["m"].preferences) for judge, policies in found.items()} == {"armo": 1, "gpt": 2}


def test_several_rows_of_a_prompt_are_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "1", ROW, ROW | {"preference": 0.75}, ROW | {"prompt_id": "b", "preference": 1.0})
    assert read_comparisons([path])["judge"]["m"].prompt_preferences.tolist() == [0.5, 1.0]


def test_other_types_are_converted(tmp_path: Path) -> None:
    rows = [ROW | {"prompt_id": 3}, ROW | {"prompt_id": 12}]
    path = write(tmp_path / "1", *rows, prompt_id=pa.int32(), preference=pa.float32(), policy=pa.large_string())
    assert read_comparisons([path])["judge"]["m"].prompt_ids.tolist() == ["12", "3"]


def test_rows_without_a_preference_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "1", ROW, ROW | {"preference": None}, ROW | {"preference": float("nan")})
    assert len(read_comparisons([path])["judge"]["m"].preferences) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"preference": 1.5}, ["row 1: preference is 1.5", "0 to 1"]),
        ({"preference": -0.1}, ["row 1: preference is -0.1"]),
        ({"length": None}, ["row 1: length is None"]),
        ({"reference_length": float("inf")}, ["row 1: reference_length is inf"]),
        ({"policy": None}, ["row 1: policy is None"]),
    ],
)
def test_wrong_values_are_refused_with_their_row(tmp_path: Path, wrong: dict[str, Any], said: list[str]) -> None:
    path = write(tmp_path / "file.parquet", ROW, ROW | wrong)
    with pytest.raises(UserError) as caught:
        read_comparisons([path])
    for words in [str(path), *said]:
        assert words in str(caught.value)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "1", {"model": "m", "prompt_id": "a", "preference": 0.5, "length": 1})
    with pytest.raises(UserError, match="no column policy, reference_length; it has model, prompt_id"):
        read_comparisons([path])


def test_numbers_that_are_texts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1", ROW | {"preference": "better"})
    with pytest.raises(UserError, match="column preference: it is string, not double"):
        read_comparisons([path])


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("policy,prompt_id")
    with pytest.raises(UserError, match="not a complete"):
        read_comparisons([tmp_path / "1"])


def test_a_damaged_artifact_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "comparisons.parquet"
    COMPARISONS.write(path, [{**ROW, "judge": "reward", "draw": 0, "length": 7.0, "reference_length": 4.0}], {})
    assert read_comparisons([path])["reward"]["m"].preferences.tolist() == [0.25]
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read_comparisons([path])
