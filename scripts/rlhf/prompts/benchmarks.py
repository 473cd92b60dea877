"""Reads the questions of benchmarks, from local files or the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.datasets.files import open_dataset, require_columns
from rlhf.prompts.settings import Benchmark


@dataclass(frozen=True)
class Questions:
    """The questions of a benchmark."""

    settings: Benchmark
    texts: tuple[str, ...]
    revision: str | None
    """Commit of the hub dataset."""


def read_questions(benchmark: Benchmark, revisions: Path | None) -> Questions:
    """Read all questions of a benchmark.

    Args:
        revisions: the experiment's `revisions.yaml`, for a hub dataset whose revision is null.

    Raises:
        UserError: the dataset cannot be opened, lacks the column, or a row of it is neither text nor a list of texts;
            or there are no questions. The message names the benchmark and the row.
    """
    where = f"prompts.decontaminate: {benchmark.name} ({benchmark.file or benchmark.dataset})"
    opened = open_dataset(
        benchmark.dataset, benchmark.subset, benchmark.split, benchmark.revision, revisions, benchmark.file
    )
    with opened as (rows, revision):
        require_columns(rows.column_names, [benchmark.column], where, "Set `column` to that of the questions.")
        texts = tuple(_texts(rows[benchmark.column], f"{where}: column {benchmark.column!r}"))
    if not texts:
        raise UserError(f"{where}: the column {benchmark.column!r} holds no questions: it is empty in all rows")
    return Questions(benchmark, texts, revision)


def _texts(values: Iterable[object], where: str) -> Iterator[str]:
    for row, value in enumerate(values):
        for text in value if isinstance(value, list) else [value]:
            if text is not None and not isinstance(text, str):
                raise UserError(
                    f"{where}: row {row} holds {type(text).__name__}, and questions are text or lists of text: set "
                    "`column` to a column of texts"
                )
            if text and text.strip():
                yield text
