"""Schemas, whole files, and provenance of the artifacts."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.artifacts import Artifact, ArtifactError, count_rows, read_provenance

THINGS = Artifact(
    "things",
    pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("number", pa.int32(), nullable=False),
            pa.field("score", pa.float32()),
            pa.field("ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
        ]
    ),
    key=("name", "number"),
)


def thing(name: str = "a", number: int = 0, score: float | None = 1.5, ids: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    return {"name": name, "number": number, "score": score, "ids": list(ids)}


ROWS = st.lists(
    st.builds(
        thing,
        st.text(max_size=5),
        st.integers(-(2**31), 2**31 - 1),
        st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        st.lists(st.integers(0, 2**31 - 1), max_size=4).map(tuple),
    ),
    max_size=8,
    unique_by=lambda row: (row["name"], row["number"]),
)


@given(rows=ROWS)
@settings(deadline=None, max_examples=50)
def test_what_is_written_is_read(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("artifact") / "deep" / "things.parquet"
    THINGS.write(path, rows, {})
    assert THINGS.read(path).to_pylist() == rows
    assert THINGS.read(path, ["score", "name"]).column_names == ["score", "name"]
    assert count_rows(path) == len(rows)


def test_equal_rows_and_provenance_give_equal_bytes(tmp_path: Path) -> None:
    first = {"b": [1, {"y": None, "x": "ü"}], "a": 2.5}
    second = {"a": 2.5, "b": [1, {"x": "ü", "y": None}]}
    THINGS.write(tmp_path / "1.parquet", [thing()], first)
    THINGS.write(tmp_path / "2.parquet", pa.Table.from_pylist([thing()], schema=THINGS.schema), second)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert read_provenance(tmp_path / "1.parquet") == {"artifact": "things", **first}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([thing(), thing("b", score=float("nan"))], "row 1: things.score is nan"),
        ([thing(score=float("-inf"))], "row 0: things.score is -inf"),
        ([thing(), {**thing("b"), "ids": None}], "row 1: things.ids is null"),
        ([thing(), thing("b"), thing()], "rows 0 and 2 are both name='a', number=0"),
        ([{**thing(), "number": "one"}], "these are no rows of things"),
        ([{**thing(), "number": 2**40}], "these are no rows of things"),
        (pa.table({"name": ["a"]}), "expected the columns"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "things.parquet"
    with pytest.raises(ArtifactError, match=re.escape(message)) as error:
        THINGS.write(path, rows, {})
    assert str(path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "things.parquet"
    THINGS.write(path, [thing()], {})

    def fail(table: pa.Table, where: Path, **options: object) -> None:
        Path(where).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        THINGS.write(path, [thing("b")], {})
    assert list(tmp_path.iterdir()) == [path]
    assert THINGS.read(path).to_pylist() == [thing()]


def test_reading_checks_too(tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    with pytest.raises(ArtifactError, match="no such file"):
        THINGS.read(path)
    THINGS.write(path, [thing()], {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match="not a whole things file"):
        THINGS.read(path)
    table = pa.Table.from_pylist([thing(score=float("inf"))], schema=THINGS.schema)
    pq.write_table(table, path)
    with pytest.raises(ArtifactError, match=r"row 0: things\.score is inf"):
        THINGS.read(path)
    with pytest.raises(ArtifactError, match="no provenance"):
        read_provenance(path)
    pq.write_table(table.rename_columns(["name", "number", "points", "ids"]), path)
    with pytest.raises(ArtifactError, match="not a things artifact"):
        THINGS.read(path)


def test_nulls_and_numbers_that_are_not_finite_inside_lists_are_found(tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    with pytest.raises(ArtifactError, match=r"row 2: things\.ids holds None"):
        THINGS.write(path, [thing("a"), thing("b", ids=()), {**thing("c"), "ids": [1, None]}, thing("d")], {})
    scores = pa.schema([pa.field("name", pa.string()), pa.field("scores", pa.list_(pa.float32()))])
    lists = Artifact("lists", scores, key=("name",))
    rows = [{"name": name, "scores": values} for name, values in (("a", [1.0, None]), ("b", None), ("c", [2.0]))]
    lists.write(path, rows, {})
    table = pa.concat_tables([lists.read(path), pa.table({"name": ["d"], "scores": [[1.0, float("nan")]]}, scores)])
    with pytest.raises(ArtifactError, match=r"row 3: lists\.scores holds nan"):
        lists.write(path, table, {})
    assert lists.read(path).to_pylist() == rows
