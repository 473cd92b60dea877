"""Reads JSON lines with column types inferred from all rows; text stays text, even if it looks like a date.

`datasets` guesses types from the first 10 MB: it fails on keys that first appear later or change type there, and turns
text that looks like a date into one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    from datasets import Features

ROWS_PER_BATCH = 10_000
LAST_BYTES = 1_000_000
LONGEST_INTEGER = 300
"""In digits; Python parses at most 4,300, and a float holds 308."""
SHOWN_CHARACTERS = 40
TEXT: Final = "text"
TEXTS: Final = "lists of text"
TURNS: Final = "lists of turns"
INTEGER, NUMBER, BOOLEAN, OTHER = "integer", "number", "boolean", "other"


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file, one per line; empty lines are skipped. A file with one array of objects works too.

    Raises:
        UserError: a line is not a JSON object in UTF-8 (the message names its row), or there are no rows.
    """
    rows = -1
    with path.open("rb") as file:
        lines = enumerate(file)
        for row, line in lines:
            if not line.strip():
                continue
            if rows < 0 and line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                yield from _array(path, line + file.read())
                return
            yield _object(path, row, line)
            rows = row
    if rows < 0:
        raise UserError(f"{path}: the file has no rows")


def _object(path: Path, row: int, line: bytes) -> dict[str, Any]:
    """The JSON object in a line."""
    where = f"{path}: row {row} (line {row + 1}) is not a JSON object"
    try:
        value = json.loads(line.decode("utf-8-sig" if row == 0 else "utf-8"), parse_int=_parse_integer)
        if rb"\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()  # an unpaired surrogate is not a character
    except UnicodeError as error:
        raise UserError(f"{where}: {error}. Save the file as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else ". The last line has no newline: the file may be truncated"
        raise UserError(f"{where}: {error}{cut}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: it is {str(value)[:SHOWN_CHARACTERS]!r}")
    return value


def _array(path: Path, text: bytes) -> Iterator[dict[str, Any]]:
    """The objects in a file that is one JSON array."""
    try:
        values = json.loads(text.decode("utf-8-sig"), parse_int=_parse_integer)
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: the file starts like a JSON array but is not one: {error}") from error
    for row, value in enumerate(values):
        if not isinstance(value, dict):
            raise UserError(f"{path}: row {row} is not a JSON object: it is {str(value)[:SHOWN_CHARACTERS]!r}")
        yield value
    if not values:
        raise UserError(f"{path}: the file has no rows")


def check_last_line(path: Path) -> None:
    """Raise UserError if a JSON lines file ends in the middle of a line; reads only its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_BYTES))
        *others, last = file.read().rstrip().split(b"\n")
    if others and not last.rstrip().endswith((b"}", b"]")):
        shown = last[-SHOWN_CHARACTERS:].decode(errors="replace")
        raise UserError(f"{path}: the last line is not a JSON object: it ends with {shown!r}. Is it truncated?")


def column_kinds(rows: Iterable[Mapping[str, object]]) -> dict[str, set[str]]:
    """Column -> the kinds of values it holds, in order of first appearance; nulls do not count."""
    found: dict[str, set[str]] = {}
    for value in rows:
        for key, cell in value.items():
            kinds = found.setdefault(key, set())
            if cell is not None:
                kinds.add(_kind(cell))
    return found


def _parse_integer(digits: str) -> int | float:
    """Parse an integer; as a float if it does not fit into 64 bits."""
    value = int(digits) if len(digits) < LONGEST_INTEGER else float(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def _kind(value: object) -> str:
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return TEXTS
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return TURNS
    return NUMBER if isinstance(value, float) else OTHER


def write_arrow(path: Path, target: Path) -> None:
    """Convert a JSON lines file to an Arrow stream, which `datasets` maps into memory.

    Columns of text, numbers or booleans get that type; columns of anything else, or of mixed kinds, keep their values
    as JSON.

    Raises:
        UserError: see `json_rows`.
    """
    features = _features(column_kinds(json_rows(path)))
    rows = json_rows(path)
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, features.arrow_schema) as stream:
        while batch := list(itertools.islice(rows, ROWS_PER_BATCH)):
            columns = [_array_of([row.get(key) for row in batch], feature) for key, feature in features.items()]
            stream.write_batch(pa.record_batch(columns, schema=features.arrow_schema))


def _features(kinds: dict[str, set[str]]) -> Features:
    from datasets import Features, Json, Value

    types = {"": "string", TEXT: "string", INTEGER: "int64", NUMBER: "float64", BOOLEAN: "bool"}
    found = {}
    for key, held in kinds.items():
        held = {NUMBER} if held == {INTEGER, NUMBER} else held
        kind = next(iter(held), "") if len(held) < 2 else OTHER
        found[key] = Value(types[kind]) if kind in types else Json()
    return Features(found)


def _array_of(values: list[object], feature: Any) -> pa.Array:
    """One column of a batch as an Arrow array."""
    type_ = feature()
    if not isinstance(type_, pa.BaseExtensionType):
        return pa.array(values, type_)
    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(type_, pa.array(texts, type_.storage_type))
