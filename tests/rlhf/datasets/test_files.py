"""What is made of a local dataset lies in the folder for temporary files, which can be full, or hold leftovers."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrow_memory import peak_of
from rlhf.base.errors import UserError
from rlhf.base.files.temporary_files import temporary_path
from rlhf.datasets.files import open_file
from small_disk import NEEDS_ROOT, SmallDisk

PROMPTS = [f"What is {number} + {number}?" for number in range(20_000)]


@pytest.fixture(params=["parquet", "jsonl"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"data.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.table({"prompt": PROMPTS}), path)
    else:
        path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    return path


@NEEDS_ROOT
def test_a_full_folder_for_temporary_files(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with SmallDisk(folder, size="64k") as disk:
        sentence = rf"the disk {re.escape(str(folder))} is full.*set TMPDIR"
        with pytest.raises(UserError, match=sentence), open_file(dataset):
            pass
        assert list(folder.iterdir()) == []
        disk.resize("10m")
        with open_file(dataset) as rows:
            assert rows["prompt"][:] == PROMPTS
            del rows
        assert list(folder.iterdir()) == []


def test_leftovers_of_a_killed_job_are_removed(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with open_file(dataset):
        (used,) = folder.iterdir()
    own = temporary_path(used.with_name(used.name[1:].partition("@")[0]))
    dead = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    dead.mkdir()
    with open_file(dataset):
        assert list(folder.iterdir()) == [used]


def test_a_large_row_group_is_not_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    table = pa.table({"prompt": [f"{number:01000}" for number in range(40_000)]})
    pq.write_table(table, path, use_dictionary=False, compression="none")
    assert pq.ParquetFile(path).num_row_groups == 1

    def read() -> None:
        with open_file(path) as rows:
            assert len(rows) == 40_000

    assert 0 < peak_of(read) < table.nbytes / 4


def test_columns_other_than_text_survive_the_copy(tmp_path: Path) -> None:
    """Dictionaries that differ between row groups, nulls, lists of structs, and dates."""
    path = tmp_path / "data.parquet"
    message = [{"role": "user", "content": "What?"}]
    columns = {
        "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "messages": [message, [], None, message * 2],
        "large": pa.array(["one", None, "three", "four"], pa.large_string()),
        "day": pa.array([0, 1, None, 2], pa.date32()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=2)
    with open_file(path) as rows:
        found = rows[:]
    assert found == {name: pa.array(values).to_pylist() for name, values in columns.items()}


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"prompt": PROMPTS[:2]}), path)
    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: .*Permission denied"), open_file(path):
        pass
