"""Schemas, whole files, and provenance of the artifacts."""

import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.artifacts import ROWS_PER_GROUP, Artifact, ArtifactError, count_rows, read_provenance
from rlhf.base.files.checksums import DamagedError
from sealed_files import write_sealed

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
def test_rows_survive_a_round_trip(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
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
        ([thing(), thing("b"), thing()], "rows 0 and 2 have the same key: name='a', number=0"),
        ([{**thing(), "number": "one"}], "the rows do not fit the schema of things"),
        ([{**thing(), "number": 2**40}], "the rows do not fit the schema of things"),
        (pa.table({"name": ["a"]}), "expected the columns"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "things.parquet"
    with pytest.raises(ArtifactError, match=re.escape(message)) as error:
        THINGS.write(path, rows, {})
    assert str(path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_existing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "things.parquet"
    THINGS.write(path, [thing()], {})

    def fail(writer: pq.ParquetWriter, *_: object, **__: object) -> None:
        Path(writer.where).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
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
    with pytest.raises(DamagedError, match=r"things\.parquet: this file is not as the pipeline wrote it"):
        THINGS.read(path)
    table = pa.Table.from_pylist([thing(score=float("inf"))], schema=THINGS.schema)
    write_sealed(table, path)
    with pytest.raises(ArtifactError, match=r"row 0: things\.score is inf"):
        THINGS.read(path)
    with pytest.raises(ArtifactError, match="no provenance"):
        read_provenance(path)
    write_sealed(table.rename_columns(["name", "number", "points", "ids"]), path)
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


def many_things(count: int) -> list[dict[str, Any]]:
    return [thing(f"thing {row}", row, float(row), (row, row + 1)) for row in range(count)]


def test_rows_of_a_file_are_read_from_their_row_groups_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rows = tmp_path / "things.parquet", many_things(3 * ROWS_PER_GROUP + 5)
    THINGS.write(path, rows, {})
    read: list[int] = []
    usual = pq.ParquetFile.read_row_groups

    def counted(file: pq.ParquetFile, groups: list[int], *more: Any, **options: Any) -> pa.Table:
        read.extend(groups)
        return usual(file, groups, *more, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    for wanted, groups in (
        (range(ROWS_PER_GROUP), [0]),
        (range(ROWS_PER_GROUP - 1, ROWS_PER_GROUP + 1), [0, 1]),
        (range(len(rows) - 1, len(rows)), [3]),
        (range(len(rows)), [0, 1, 2, 3]),
    ):
        read.clear()
        assert THINGS.read(path, rows=wanted).to_pylist() == rows[wanted.start : wanted.stop]
        assert read == groups


def test_columns_that_are_not_asked_for_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    THINGS.write(tmp_path / "things.parquet", many_things(10), {})
    read: list[list[str]] = []
    usual = pq.ParquetFile.read_row_groups

    def counted(file: pq.ParquetFile, groups: list[int], columns: list[str]) -> pa.Table:
        read.append(columns)
        return usual(file, groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    assert THINGS.read(tmp_path / "things.parquet", ["score"]).column_names == ["score"]
    assert read == [["name", "number", "score"]]  # the key is checked in any case


def test_a_bad_row_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    rows = many_things(5000)
    rows[4500]["score"] = float("inf")
    write_sealed(pa.Table.from_pylist(rows, schema=THINGS.schema), path, row_group_size=1000)
    with pytest.raises(ArtifactError, match=r"row 4500: things\.score is inf"):
        THINGS.read(path, rows=range(4400, 4600))
    assert len(THINGS.read(path, rows=range(4000, 4500))) == 500


@pytest.mark.parametrize("sizes", [[0, 3], [ROWS_PER_GROUP], [1, 2 * ROWS_PER_GROUP, 7], [5000, 5000], [100] * 90])
def test_tables_give_the_bytes_of_their_rows_however_they_are_cut(sizes: list[int], tmp_path: Path) -> None:
    whole = pa.Table.from_pylist(many_things(sum(sizes)), schema=THINGS.schema)
    ends = list(accumulate(sizes, initial=0))
    tables = [whole.slice(start, size) for start, size in zip(ends, sizes, strict=False)]
    THINGS.write(tmp_path / "whole.parquet", whole, {"a": 1})
    THINGS.write_tables(tmp_path / "tables.parquet", iter(tables), {"a": 1})
    assert (tmp_path / "tables.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_key_that_two_tables_share_is_found_and_nothing_is_written(tmp_path: Path) -> None:
    table, other = (pa.Table.from_pylist(rows, schema=THINGS.schema) for rows in (many_things(3), [thing()]))
    with pytest.raises(ArtifactError, match=r"rows 1 and 4 have the same key: name='thing 1', number=1"):
        THINGS.write_tables(tmp_path / "things.parquet", [table, table.slice(0, 0), other, table.slice(1, 1)], {})
    assert list(tmp_path.iterdir()) == []
