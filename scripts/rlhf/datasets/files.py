"""Opens datasets, local Parquet and JSON lines files or from the hub, as `datasets.Dataset`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import verify_if_sealed
from rlhf.base.files.full_disks import named_full_disk, no_room
from rlhf.base.files.temporary_files import temporary_beside
from rlhf.datasets.folders import SUFFIXES, is_local, local_files
from rlhf.datasets.json_lines import write_arrow
from rlhf.models.revisions import COMMIT, recorded_commit

if TYPE_CHECKING:
    from datasets import Dataset

MORE_ROOM = "The rows are kept there until the program ends: free some space, or set TMPDIR to another folder."
BYTES_AT_ONCE, ROWS_AT_ONCE = 2**20, 1_000
"""Bytes of a column, and rows, read from a Parquet file at a time, regardless of its row group size."""


def dataset_input(dataset: str) -> dict[str, Path]:
    """A local dataset as an input of a program; empty for one of the hub.

    Of results of another run, the checksum is verified, but not what they were made from: that is not given here.

    Raises:
        DamagedError: a result changed since it was written.
    """
    if not is_local(dataset):
        return {}
    verify_if_sealed(Path(dataset))
    return {"dataset": Path(dataset)}


@contextmanager
def open_dataset(
    dataset: str | Path,
    subset: str | None,
    split: str,
    revision: str | None,
    revisions: Path | None = None,
    file: str | None = None,
) -> Iterator[tuple[Dataset, str | None]]:
    """Open a local file, or a split of a local folder or hub dataset, or a single file of the latter: (rows, hub commit
    or None).

    Args:
        revisions: the experiment's `revisions.yaml`, for a hub dataset whose revision is null.
        file: a file in the hub dataset's repository, which is read instead of a split.

    Raises:
        UserError: as for `open_file`, `open_hub` and `hub_file`, or `revisions` has no entry for the dataset.
    """
    if is_local(str(dataset)):
        with open_files(local_files(Path(dataset), subset, split)) as rows:
            yield rows, None
        return
    commit = revision or recorded_commit(revisions, "dataset", str(dataset))
    if file is None:
        yield open_hub(str(dataset), subset, split, commit)
    else:
        path, commit = hub_file(str(dataset), file, commit)
        with open_file(path) as rows:
            yield rows, commit


@contextmanager
def open_file(path: Path) -> Iterator[Dataset]:
    """Open a local file. Raises UserError as `open_files` does."""
    with open_files([path]) as rows:
        yield rows


@contextmanager
def open_files(paths: Sequence[Path]) -> Iterator[Dataset]:
    """Open local files, one after the other, converted in a temporary folder, so that no stale cache is used.

    Raises:
        UserError: there is no such file, it cannot be read, or their columns differ; for JSON lines, the message names
            the row.
    """
    from datasets import Dataset, concatenate_datasets

    for path in paths:
        _require_file(path)
    with temporary_beside(Path(tempfile.gettempdir()) / f"rlhf-dataset-{os.geteuid()}") as cache:
        cache.mkdir(mode=0o700)
        tables = []
        for number, path in enumerate(paths):
            rows = cache / f"rows-{number}.arrow"
            with named_full_disk(cache, MORE_ROOM):
                (_copy_parquet if path.suffix == ".parquet" else write_arrow)(path, rows)
            tables.append(Dataset.from_file(str(rows)))
        try:
            whole = concatenate_datasets(tables)
        except ValueError as error:
            raise UserError(f"{paths[0].parent}: its files have different columns: {error}") from error
        yield whole


def _require_file(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: a local dataset must be a file with one of the suffixes {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")


def _copy_parquet(path: Path, target: Path) -> None:
    """Convert a Parquet file to an Arrow stream, which `datasets` maps into memory.

    Raises:
        UserError: the file is truncated or damaged, its text is not UTF-8, or it has no rows.
    """
    from datasets import Features
    from datasets.table import table_cast

    try:
        file = pq.ParquetFile(path, buffer_size=BYTES_AT_ONCE, pre_buffer=False)
        if file.metadata.num_rows == 0:
            raise UserError(f"{path}: the file has no rows")
        schema = Features.from_arrow_schema(file.schema_arrow).arrow_schema
        with pa.OSFile(str(target), "wb") as output, pa.ipc.new_stream(output, schema) as stream:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                batch.validate(full=True)  # invalid UTF-8 would fail later, without the file's name
                stream.write_table(table_cast(pa.Table.from_batches([batch]), schema))
    except (ValueError, OSError) as error:
        if no_room(error) is not None:
            raise
        raise UserError(f"{path}: the file cannot be read as Parquet: {error}") from error


def open_hub(name: str, subset: str | None, split: str, revision: str | None) -> tuple[Dataset, str]:
    """Open a split of a hub dataset, or of one of its subsets: (rows, commit of its repository).

    Raises:
        UserError: there is no such dataset or split, the hub cannot be reached and the local cache has another commit,
            or the disk of the cache is full.
    """
    from datasets import config, disable_progress_bars, load_dataset_builder
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()  # they would flood the logs
    try:
        with named_full_disk(Path(config.HF_DATASETS_CACHE)):
            builder = load_dataset_builder(name, subset, revision=revision)
            # If the hub cannot be reached, `datasets` uses what it prepared last, whatever the revision.
            if revision and COMMIT.fullmatch(revision) and builder.hash != revision:
                raise UserError(
                    f"dataset {name!r}: commit {revision} is needed, but the hub cannot be reached, and the cache on "
                    f"this machine has {builder.hash}. Download it where there is internet access (`snakemake "
                    "prefetch`)."
                )
            builder.download_and_prepare()
            return builder.as_dataset(split=split), builder.hash
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:  # RuntimeError: it has a script
        at = f" at revision {revision!r}" if revision else ""
        cause = error.__cause__ or error
        raise UserError(f"split {split!r} of the dataset {name!r}{at} cannot be loaded: {cause}") from error


def hub_file(name: str, file: str, revision: str | None) -> tuple[Path, str]:
    """Download a file of a hub dataset to the hub's cache: (path, commit of its repository).

    `data_files` of `datasets` would not do: it refuses every repository with a script, whatever is read of it.

    Raises:
        UserError: there is no such dataset or file, or the hub cannot be reached and the local cache does not have it.
    """
    from huggingface_hub import constants, hf_hub_download

    try:
        with named_full_disk(Path(constants.HF_HUB_CACHE)):
            path = Path(hf_hub_download(name, file, repo_type="dataset", revision=revision))
    except (OSError, ValueError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise UserError(f"file {file!r} of the dataset {name!r}{at} cannot be loaded: {error}") from error
    return path, path.parents[len(Path(file).parts) - 1].name


def hub_folder(name: str, revision: str | None) -> tuple[Path, str]:
    """Download the data files of a hub dataset, and no code, to the hub's cache: (folder, commit of its repository).

    Raises:
        UserError: there is no such dataset, or the hub cannot be reached and the local cache does not have it.
    """
    from huggingface_hub import constants, snapshot_download

    try:
        with named_full_disk(Path(constants.HF_HUB_CACHE)):
            patterns = [*(f"*{suffix}" for suffix in (*SUFFIXES, ".json", ".csv")), "README.md"]
            folder = Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise UserError(f"the dataset {name!r}{at} cannot be downloaded: {error}") from error
    return folder, folder.name


def is_text(rows: Dataset, column: str) -> bool:
    """Whether a column holds no lists of turns; false where there is no such column."""
    from datasets import Json, Value

    kind = rows.features.get(column)
    if isinstance(kind, Json):  # turns, or values of several kinds
        lists = (value for value in rows[column] if isinstance(value, list))
        return not any(isinstance(turn, dict) for value in lists for turn in value)
    return isinstance(kind, Value)


def require_columns(there: Sequence[str], columns: Sequence[str], where: str, remedy: str) -> None:
    """Raise UserError, listing the existing columns and the remedy, unless all of `columns` exist."""
    missing = [column for column in columns if column not in there]
    if missing:
        raise UserError(
            f"{where}: there is no column {', '.join(map(repr, missing))}; there are "
            f"{', '.join(map(repr, there))}. {remedy}"
        )
