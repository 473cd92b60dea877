"""Parquet artifacts: one schema each, checked on every write and read, written atomically, with their provenance."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import KEY, ZEROS, seal_file, verify
from rlhf.base.files.temporary_files import temporary_beside
from rlhf.base.settings import canonical_json

METADATA_KEY = b"rlhf"
TOKEN_IDS = pa.list_(pa.field("element", pa.int32(), nullable=False))
"""Type of a column of token ids: lists of int32 without nulls."""
ROWS_PER_GROUP = 4096
"""Rows of a row group: small enough that reading a slice reads little else. A constant, so that equal rows give equal
bytes."""


def table_schema(types: Mapping[str, pa.DataType], nullable: Collection[str] = ()) -> pa.Schema:
    """The schema of a table whose columns hold no nulls, but for those in `nullable`."""
    return pa.schema([pa.field(name, kind, nullable=name in nullable) for name, kind in types.items()])


class ArtifactError(UserError):
    """A file is not the artifact it should be. The message names the file, the row and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A kind of Parquet file: its name, its schema, and its key (the columns that identify a row).

    Columns and lists declared `nullable=False` hold no nulls; floating-point values are finite or null.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    def write(
        self, path: Path, rows: pa.Table | Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]
    ) -> pa.Table:
        """Check `rows` against the schema and write them atomically, with their provenance.

        Equal rows and equal provenance give equal bytes.

        Raises:
            UserError: the disk is full.
            ArtifactError: a wrong column or type, a null or non-finite value where none is allowed, or a duplicate key.
        """
        try:
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=self.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ArtifactError(f"{path}: the rows do not fit the schema of {self.name}: {error}") from error
        self.check(table, path)
        self._write(path, [table], provenance)
        return table

    def write_tables(self, path: Path, tables: Iterable[pa.Table], provenance: Mapping[str, Any]) -> None:
        """Like `write`, for rows that come in several tables and may not fit into memory together.

        Raises:
            ArtifactError: as for `write`; duplicate keys are found at the end.
        """
        keys: list[pa.Table] = []

        def checked() -> Iterator[pa.Table]:
            for table in tables:
                self._check_schema(table.schema, path)
                self._check_values(table, path, sum(map(len, keys)))
                keys.append(table.select(self.key))
                yield table
            _check_unique(pa.concat_tables(keys), self.key, path, 0)

        self._write(path, regroup(checked()), provenance)

    def _write(self, path: Path, tables: Iterable[pa.Table], provenance: Mapping[str, Any]) -> None:
        metadata = {METADATA_KEY: canonical_json({"artifact": self.name, **provenance}).encode(), KEY: ZEROS}
        with temporary_beside(path) as temporary:
            with pq.ParquetWriter(temporary, self.schema.with_metadata(metadata), compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            seal_file(temporary)
            temporary.replace(path)

    def read(self, path: Path, columns: Sequence[str] | None = None, rows: range | None = None) -> pa.Table:
        """Read a file, or only some of its columns or rows.

        Args:
            columns: in this order; None reads all.
            rows: a contiguous range of existing rows; row groups outside it are not read. None reads all.

        Raises:
            ArtifactError: the file is missing, truncated, or another kind of artifact.
            DamagedError: the file changed since it was written.
        """
        file = _open_sealed(path, self.name)
        self._check_schema(file.schema_arrow, path)
        read = [name for name in self.schema.names if columns is None or name in {*columns, *self.key}]
        wanted = range(file.metadata.num_rows) if rows is None else rows
        first, groups = _row_groups_with(file.metadata, wanted)
        table = file.read_row_groups(groups, read).slice(wanted.start - first, len(wanted))
        self._check_values(table, path, wanted.start)
        return table.select(columns) if columns else table

    def check(self, table: pa.Table, path: Path) -> None:
        """Raise ArtifactError, naming file and row, unless `table` has the schema and valid values."""
        self._check_schema(table.schema, path)
        self._check_values(table, path, 0)

    def _check_schema(self, schema: pa.Schema, path: Path) -> None:
        if not schema.equals(self.schema):
            raise ArtifactError(
                f"{path}: this is not a {self.name} artifact: expected the columns\n{self.schema}\nfound\n"
                f"{schema.remove_metadata()}\nDelete the file and run the pipeline again, or give another file."
            )

    def _check_values(self, table: pa.Table, path: Path, first: int) -> None:
        """Check the columns of a table that starts at row `first` of the file."""
        for name in table.column_names:
            self._check_column(table[name], self.schema.field(name), path, first)
        _check_unique(table, self.key, path, first)

    def _check_column(self, column: pa.ChunkedArray, field: pa.Field, path: Path, first: int) -> None:
        name = f"{self.name}.{field.name}"
        if not field.nullable and column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise ArtifactError(f"{path}: row {first + row}: {name} is null")
        if pa.types.is_list(field.type):
            self._check_elements(column, field, path, first)
        elif (row := _first_not_finite(column)) >= 0:
            raise ArtifactError(f"{path}: row {first + row}: {name} is {column[row]}")

    def _check_elements(self, column: pa.ChunkedArray, field: pa.Field, path: Path, first: int) -> None:
        elements = pc.list_flatten(column)
        position = -1 if field.type.value_field.nullable else pc.index(pc.is_null(elements), True).as_py()
        if position < 0:
            position = _first_not_finite(elements)
        if position >= 0:
            ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(column), 0))
            row = pc.index(pc.greater(ends, position), True).as_py()
            raise ArtifactError(f"{path}: row {first + row}: {self.name}.{field.name} holds {elements[position]}")


def _first_not_finite(column: pa.ChunkedArray) -> int:
    """Index of the first value that is NaN or infinite, or -1; nulls are ignored."""
    return pc.index(pc.is_finite(column), False).as_py() if pa.types.is_floating(column.type) else -1


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance in a Parquet artifact: spec, versions, counts, and digests of code, inputs and models.

    Raises:
        ArtifactError: the file has none.
    """
    provenance = find_provenance(path)
    if provenance is None:
        raise ArtifactError(f"{path}: this file has no provenance: it was not written by this pipeline")
    return provenance


def find_provenance(path: Path) -> dict[str, Any] | None:
    """Like `read_provenance`, but None for a Parquet file without provenance, such as a dataset."""
    if _stated_provenance(_open(path, "artifact")) is None:
        return None
    return _stated_provenance(_open_sealed(path, "artifact"))


def stated_provenance(path: Path) -> dict[str, Any] | None:
    """Like `find_provenance`, without checking the rest of the file: a plan reads thousands of these."""
    return _stated_provenance(_open(path, "artifact"))


def _stated_provenance(file: pq.ParquetFile) -> dict[str, Any] | None:
    metadata = file.schema_arrow.metadata or {}
    return json.loads(metadata[METADATA_KEY]) if METADATA_KEY in metadata else None


def count_rows(path: Path) -> int:
    """Number of rows of a Parquet file, read from its footer."""
    return _open(path, "Parquet").metadata.num_rows


def _open_sealed(path: Path, kind: str) -> pq.ParquetFile:
    """Open a file after verifying its checksum."""
    if path.is_file():
        verify(path)
    return _open(path, kind)


def _open(path: Path, kind: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: there is no such file") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(
            f"{path}: not a complete {kind} file ({error}). Delete it and run the pipeline again."
        ) from error


def regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Regroup tables so that all but the last have a multiple of `ROWS_PER_GROUP` rows; yields at least one."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) > ROWS_PER_GROUP:
            rows = pa.concat_tables(waiting).combine_chunks()
            whole = (len(rows) - 1) // ROWS_PER_GROUP * ROWS_PER_GROUP
            yield rows.slice(0, whole)
            waiting = [rows.slice(whole)]
    yield pa.concat_tables(waiting).combine_chunks()


def _row_groups_with(file: pq.FileMetaData, rows: range) -> tuple[int, list[int]]:
    """(first row of the first group, indices of the row groups) that cover `rows`."""
    counts = [file.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = list(accumulate(counts, initial=0))
    groups = [group for group in range(len(counts)) if starts[group] < rows.stop and rows.start < starts[group + 1]]
    return starts[groups[0]] if groups else rows.start, groups


def _check_unique(table: pa.Table, key: tuple[str, ...], path: Path, first: int) -> None:
    if table.group_by(list(key)).aggregate([]).num_rows == len(table):
        return
    seen: dict[tuple[object, ...], int] = {}
    for row, values in enumerate(zip(*(table[name].to_pylist() for name in key), strict=True), first):
        if values in seen:
            named = ", ".join(f"{name}={value!r}" for name, value in zip(key, values, strict=True))
            raise ArtifactError(f"{path}: rows {seen[values]} and {row} have the same key: {named}")
        seen[values] = row


LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
"""The largest finite float32; a larger reward would be stored as infinity."""


def is_finite_float32(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a number that is finite in float32. NaN is not: it fails every comparison."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_FLOAT32
