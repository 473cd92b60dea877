"""JSON lines read by themselves: what a column holds follows from all its rows, and text stays text, dates too.

`datasets` guesses types from the first 10 MB: a key that comes later, or another type there, is an error to it, and
text that looks like a date becomes one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    from datasets import Features

ROWS_PER_BATCH = 10_000
LAST_BYTES = 1_000_000
LONGEST_INTEGER = 300
"""Digits; Python reads no more than 4,300, and a float holds 308."""
SHOWN_CHARACTERS = 40
TEXT, INTEGER, NUMBER, TRUTH, OTHER = "text", "integer", "number", "truth", "other"


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line; empty lines are passed over. A file with one array of objects is read too.

    Raises:
        UserError: a line that is no JSON object in UTF-8, with its row; or there is none at all.
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
        raise UserError(f"{path}: the file holds no rows")


def _object(path: Path, row: int, line: bytes) -> dict[str, Any]:
    """The object of a line."""
    where = f"{path}: row {row} (line {row + 1}) is no JSON object"
    try:
        value = json.loads(line.decode("utf-8-sig" if row == 0 else "utf-8"), parse_int=_number)
        if rb"\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a pair is no character
    except UnicodeError as error:
        raise UserError(f"{where}: {error}. Save the file as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else ". It is the last line and has no end: the file may be cut off"
        raise UserError(f"{where}: {error}{cut}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: it is {str(value)[:SHOWN_CHARACTERS]!r}")
    return value


def _array(path: Path, text: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a file that is one array."""
    try:
        values = json.loads(text.decode("utf-8-sig"), parse_int=_number)
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: the file begins as a JSON array, and is none: {error}") from error
    for row, value in enumerate(values):
        if not isinstance(value, dict):
            raise UserError(f"{path}: row {row} is no JSON object: it is {str(value)[:SHOWN_CHARACTERS]!r}")
        yield value
    if not values:
        raise UserError(f"{path}: the file holds no rows")


def check_last_line(path: Path) -> None:
    """Raise UserError where a file of JSON lines ends in the middle of one, without reading the others."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_BYTES))
        *others, last = file.read().rstrip().split(b"\n")
    if others and not last.rstrip().endswith((b"}", b"]")):
        shown = last[-SHOWN_CHARACTERS:].decode(errors="replace")
        raise UserError(f"{path}: the last line is no JSON object, it ends with {shown!r}: the file may be cut off")


def column_kinds(rows: Iterable[Mapping[str, object]]) -> dict[str, set[str]]:
    """What columns hold, by name, in the order in which they appear; nulls are not counted."""
    found: dict[str, set[str]] = {}
    for value in rows:
        for key, cell in value.items():
            kinds = found.setdefault(key, set())
            if cell is not None:
                kinds.add(_kind(cell))
    return found


def _number(digits: str) -> int | float:
    """A whole number, as a fraction where 64 bits do not hold it."""
    value = int(digits) if len(digits) < LONGEST_INTEGER else float(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def _kind(value: object) -> str:
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int):
        return INTEGER
    return NUMBER if isinstance(value, float) else OTHER


def write_arrow(path: Path, target: Path) -> None:
    """Write the rows of a JSON lines file as an Arrow stream, as `datasets` reads it without loading it.

    A column of texts is text, one of numbers is numbers; one of anything else, or of several kinds, keeps its values
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

    types = {"": "string", TEXT: "string", INTEGER: "int64", NUMBER: "float64", TRUTH: "bool"}
    found = {}
    for key, held in kinds.items():
        held = {NUMBER} if held == {INTEGER, NUMBER} else held
        kind = next(iter(held), "") if len(held) < 2 else OTHER
        found[key] = Value(types[kind]) if kind in types else Json()
    return Features(found)


def _array_of(values: list[object], feature: Any) -> pa.Array:
    """A column of a batch."""
    type_ = feature()
    if not isinstance(type_, pa.BaseExtensionType):
        return pa.array(values, type_)
    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(type_, pa.array(texts, type_.storage_type))
