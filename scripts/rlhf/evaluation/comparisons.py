"""Comparisons of policies with a reference, read from files of any origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rlhf.base.artifacts import find_provenance
from rlhf.base.errors import UserError

Values = NDArray[np.float64]

TEXTS = ("judge", "policy", "prompt_id")
NUMBERS = ("preference", "length", "reference_length")
ONLY_JUDGE = "judge"
"""Name of the judge in files that do not name one."""


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of one policy by one judge, ordered by prompt. A prompt may have several."""

    prompt_ids: NDArray[np.str_]
    """(rows,), ascending."""
    preferences: Values
    """How far the judge prefers the policy's response, from 0 to 1, (rows,)."""
    length_differences: Values
    """Length of the policy's response less length of the reference's, (rows,)."""

    @cached_property
    def prompts(self) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """The distinct prompts, ascending, and the number of rows of each."""
        names, counts = np.unique(self.prompt_ids, return_counts=True)
        return names, counts

    @cached_property
    def prompt_preferences(self) -> Values:
        """Mean preference of each distinct prompt, (prompts,)."""
        _, counts = self.prompts
        return np.add.reduceat(self.preferences, np.cumsum(counts) - counts) / counts


def read_comparisons(paths: Sequence[Path]) -> dict[str, dict[str, Comparisons]]:
    """Read comparisons by judge and policy; rows without a preference are left out.

    Args:
        paths: Parquet files with the columns `policy`, `prompt_id`, `preference` (0 to 1), `length` and
            `reference_length` (in one unit, such as characters), and `judge` where there are several.

    Raises:
        UserError: a file cannot be read, lacks a column, or holds a wrong value; names the row.
        DamagedError: an artifact changed since it was written.
    """
    rows = pa.concat_tables([_read(path) for path in paths]).combine_chunks()
    rows = rows.sort_by([(name, "ascending") for name in TEXTS])
    found: dict[str, dict[str, Comparisons]] = {}
    for (judge, policy), table in _groups(rows):
        preference, length, reference = (table[name].to_numpy() for name in NUMBERS)
        prompts = table["prompt_id"].to_numpy().astype(str)
        found.setdefault(judge, {})[policy] = Comparisons(prompts, preference, length - reference)
    return found


def _groups(rows: pa.Table) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """Runs of rows with the same judge and policy."""
    start = 0
    for count in rows.group_by(["judge", "policy"], use_threads=False).aggregate([([], "count_all")])["count_all"]:
        table = rows.slice(start, count.as_py())
        yield (table["judge"][0].as_py(), table["policy"][0].as_py()), table
        start += len(table)


def _read(path: Path) -> pa.Table:
    """The columns of a file, with texts as strings and numbers as float64, without rows that have no preference."""
    try:
        find_provenance(path)  # of an artifact it checks the checksum
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error
    if "judge" not in table.column_names:
        table = table.append_column("judge", pa.repeat(ONLY_JUDGE, len(table)))
    missing = [name for name in (*TEXTS, *NUMBERS) if name not in table.column_names]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}. Comparisons have the "
            f"columns {', '.join((*TEXTS[1:], *NUMBERS))}"
        )
    columns = {name: _column(table, name, pa.string(), path) for name in TEXTS}
    columns |= {name: _column(table, name, pa.float64(), path) for name in NUMBERS}
    preference = columns["preference"]
    known = pc.and_(preference.is_valid(), pc.invert(pc.fill_null(pc.is_nan(preference), True)))
    wrong = {
        name: pc.and_(known, pc.fill_null(pc.invert(right), True))
        for name, right in {
            **{name: columns[name].is_valid() for name in TEXTS},
            "preference": pc.and_(pc.greater_equal(preference, 0), pc.less_equal(preference, 1)),
            "length": pc.is_finite(columns["length"]),
            "reference_length": pc.is_finite(columns["reference_length"]),
        }.items()
    }
    for name, where in wrong.items():
        if (row := pc.index(where, True).as_py()) >= 0:
            allowed = "a number from 0 to 1" if name == "preference" else "no empty and no infinite value"
            raise UserError(f"{path}: row {row}: {name} is {table[name][row].as_py()!r}; allowed: {allowed}")
    return pa.table(columns).filter(known)


def _column(table: pa.Table, name: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    try:
        return table[name].cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{path}: column {name}: it is {table[name].type}, not {kind}: {error}") from error
