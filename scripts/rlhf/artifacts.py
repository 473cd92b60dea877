"""Parquet artifacts: one schema each, checked at every write and read, written atomically, with their provenance."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlhf.errors import UserError
from rlhf.settings import canonical_json

METADATA_KEY = b"rlhf"
TOKEN_IDS = pa.list_(pa.field("element", pa.int32(), nullable=False))
"""Type of a column of token ids."""


class ArtifactError(UserError):
    """A file that is not the artifact it should be. The message names file, row and remedy."""


@dataclass(frozen=True)
class Artifact:
    """A kind of Parquet file: its name, its schema, and the columns that tell its rows apart.

    Columns and lists that the schema calls `nullable=False` hold no nulls; floating-point numbers are finite or null.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    def write(
        self, path: Path, rows: pa.Table | Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]
    ) -> pa.Table:
        """Check `rows` against the schema and write them with their provenance; a file that exists is whole.

        Equal rows and equal provenance give equal bytes.

        Raises:
            ArtifactError: a column, a type, a null, a value that is not finite, or a key that occurs twice.
        """
        try:
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=self.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ArtifactError(f"{path}: these are no rows of {self.name}: {error}") from error
        self.check(table, path)
        metadata = {METADATA_KEY: canonical_json({"artifact": self.name, **provenance}).encode()}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return table

    def read(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a file, or some columns of them.

        Raises:
            ArtifactError: the file is missing, cut short, or not of this artifact.
        """
        table = _open(path, self.name).read()
        self.check(table, path)
        return table.select(columns) if columns else table

    def check(self, table: pa.Table, path: Path) -> None:
        """Raise ArtifactError, with file and row, unless `table` is of this artifact."""
        if not table.schema.equals(self.schema):
            raise ArtifactError(
                f"{path}: not a {self.name} artifact: expected the columns\n{self.schema}\nfound\n"
                f"{table.schema.remove_metadata()}\nDelete the file and run the pipeline again, or point to another."
            )
        for field in self.schema:
            self._check_column(table[field.name], field, path)
        _check_unique(table, self.key, path)

    def _check_column(self, column: pa.ChunkedArray, field: pa.Field, path: Path) -> None:
        name = f"{self.name}.{field.name}"
        if not field.nullable and column.null_count:
            raise ArtifactError(f"{path}: row {pc.index(pc.is_null(column), True)}: {name} is null")
        if pa.types.is_list(field.type):
            self._check_elements(column, field, path)
        elif (row := _first_not_finite(column)) >= 0:
            raise ArtifactError(f"{path}: row {row}: {name} is {column[row]}")

    def _check_elements(self, column: pa.ChunkedArray, field: pa.Field, path: Path) -> None:
        elements = pc.list_flatten(column)
        position = -1 if field.type.value_field.nullable else pc.index(pc.is_null(elements), True).as_py()
        if position < 0:
            position = _first_not_finite(elements)
        if position >= 0:
            ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(column), 0))
            row = pc.index(pc.greater(ends, position), True)
            raise ArtifactError(f"{path}: row {row}: {self.name}.{field.name} holds {elements[position]}")


def _first_not_finite(column: pa.ChunkedArray) -> int:
    """Where the first value that is not finite stands, or -1; nulls are passed over."""
    return pc.index(pc.is_finite(column), False).as_py() if pa.types.is_floating(column.type) else -1


def read_provenance(path: Path) -> dict[str, Any]:
    """What a Parquet artifact says of its origin: spec, code, inputs and models by digest, versions, counts."""
    provenance = find_provenance(path)
    if provenance is None:
        raise ArtifactError(f"{path}: no provenance in this file: it was not written by this pipeline")
    return provenance


def find_provenance(path: Path) -> dict[str, Any] | None:
    """The same, or None where a Parquet file says nothing of its origin: a dataset, for example."""
    metadata = _open(path, "artifact").schema_arrow.metadata or {}
    return json.loads(metadata[METADATA_KEY]) if METADATA_KEY in metadata else None


def count_rows(path: Path) -> int:
    """Number of rows of a Parquet file, from its footer."""
    return _open(path, "Parquet").metadata.num_rows


def _open(path: Path, kind: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: there is no such file") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(
            f"{path}: not a whole {kind} file ({error}). Delete it and run the pipeline again."
        ) from error


def _check_unique(table: pa.Table, key: tuple[str, ...], path: Path) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for row, values in enumerate(zip(*(table[name].to_pylist() for name in key), strict=True)):
        if values in seen:
            named = ", ".join(f"{name}={value!r}" for name, value in zip(key, values, strict=True))
            raise ArtifactError(f"{path}: rows {seen[values]} and {row} are both {named}")
        seen[values] = row
