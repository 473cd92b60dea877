"""What is made of a local dataset lies in the folder for temporary files, which can be full, or hold leftovers."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.dataset_files import open_file
from rlhf.errors import UserError
from rlhf.machine.temporary_files import temporary_path
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


def test_what_a_killed_job_left_is_removed(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
