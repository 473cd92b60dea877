"""The columns of a local dataset and their types; rows are read only if the format does not record types."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.base.errors import UserError
from rlhf.datasets.json_lines import TEXT, TEXTS, TURNS, check_last_line, column_kinds, json_rows

FIRST_ROWS = 1000
AND = " and "
"""Between the kinds of values of a column that holds several."""
ColumnKinds = Mapping[str, str]
"""Column name -> what it holds, in words: `text`, or something else."""


def local_columns(path: Path, *, whole: bool) -> ColumnKinds:
    """Name and kind of each column of a Parquet or JSON lines file.

    Args:
        whole: read all JSON lines, so that keys that first appear late are found, or only the first and last ones.

    Raises:
        UserError: the file is empty, truncated, damaged or has no rows.
    """
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if path.suffix == ".parquet":
        return _parquet_columns(path)
    kinds = column_kinds(json_rows(path) if whole else itertools.islice(json_rows(path), FIRST_ROWS))
    if not whole:
        check_last_line(path)
    return {name: AND.join(sorted(held)) or "nothing but null" for name, held in kinds.items()}


def _parquet_columns(path: Path) -> ColumnKinds:
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: the file cannot be read as Parquet: it is truncated, damaged, or in another format ({error})"
        ) from error
    if metadata.num_rows == 0:
        raise UserError(f"{path}: the file has no rows")
    return {field.name: _kind(field.type) for field in schema}


def _kind(type_: pa.DataType) -> str:
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_list(value) or pa.types.is_large_list(value):
        if pa.types.is_struct(value.value_type):
            return TURNS
        return TEXTS if _kind(value.value_type) == TEXT else str(type_)
    return TEXT if pa.types.is_string(value) or pa.types.is_large_string(value) else str(type_)


def require_text(
    columns: ColumnKinds, column: str, where: str, key: str, also: Literal["lists of text", "lists of turns"]
) -> None:
    """Raise UserError, listing the columns that hold text, unless `column` is one of them.

    Args:
        also: what else will do.
    """
    allowed = {TEXT, also}
    words = " or ".join(sorted(allowed, key=len))
    texts = ", ".join(repr(name) for name, kind in columns.items() if allowed & set(kind.split(AND)))
    if column not in columns:
        raise UserError(f"{key}: there is no column {column!r} in {where}. Columns with {words}: {texts or 'none'}")
    if not allowed & set(columns[column].split(AND)):
        raise UserError(
            f"{key}: the column {column!r} of {where} holds {columns[column]}, not {words}. Columns with {words}: "
            f"{texts or 'none; add one that holds the text of the prompt'}"
        )
