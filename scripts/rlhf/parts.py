"""Parts: fixed-size slices of a split, train from the start of the prompts, test from their end."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rlhf.artifacts import ArtifactError, count_rows
from rlhf.prompts import PROMPTS
from rlhf.settings import Settings


class Rows(Settings):
    """Rows [start, stop) of the prompts; negative numbers count from the end, and a stop of 0 is the end."""

    start: int
    """First row."""
    stop: int
    """Row after the last one; 0 with a negative start is the end."""


def part_names(split: str, size: int, part_size: int) -> list[str]:
    """`train-000`, `train-001`, ... for a split of `size` prompts."""
    return [f"{split}-{index:03d}" for index in range(-(-size // part_size))]


def part_rows(part: str, size: int, part_size: int) -> Rows:
    """The rows of a part in a split of `size` prompts. Only the last part of a split depends on `size`."""
    split, index = part.rsplit("-", 1)
    start = int(index) * part_size
    stop = min(start + part_size, size)
    return Rows(start=start, stop=stop) if split == "train" else Rows(start=-stop, stop=-start)


def read_part(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> pa.Table:
    """Those rows of the prompts, or some columns of them, whatever else the file holds.

    Raises:
        ArtifactError: the file has fewer rows.
    """
    total = count_rows(path)
    start, stop, _ = slice(rows.start, rows.stop if rows.stop or rows.start >= 0 else None).indices(total)
    wanted = rows.stop - rows.start
    if stop - start != wanted:
        raise ArtifactError(f"{path}: rows {rows.start} to {rows.stop} are asked for, and it has {total} rows")
    return PROMPTS.read(path, columns, range(start, stop))
