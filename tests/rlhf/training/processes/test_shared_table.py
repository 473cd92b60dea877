"""A table that several processes share is in memory once, and leaves no files behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import shared_table_worker
from rlhf.base.errors import UserError
from rlhf.training.processes.accelerator import make_accelerator
from rlhf.training.processes.shared_table import once_per_machine
from shared_table_worker import PARTS, ROWS, TOKENS
from small_disk import NEEDS_ROOT, SmallDisk
from small_models import SCRIPTS


@pytest.mark.slow
def test_two_processes_hold_it_once(tmp_path: Path) -> None:
    temporary, output = tmp_path / "temporary", tmp_path / "output"
    temporary.mkdir()
    output.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    modules = os.pathsep.join(map(str, (Path(shared_table_worker.__file__).parent, SCRIPTS)))
    environment = {**os.environ, "PYTHONPATH": modules, "TMPDIR": str(temporary)}
    command = [*torchrun, shared_table_worker.__file__, str(output), "2", str(temporary)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((output / f"{process}.json").read_text()) for process in range(2))
    assert (first["reads"], second["reads"]) == (PARTS, 0)
    whole = 4 * PARTS * ROWS * TOKENS
    numbers = np.arange(ROWS * TOKENS, dtype=np.int64)
    for found in (first, second):
        assert found["rows"] == PARTS * ROWS
        assert found["total"] == sum(int((numbers + part).sum()) for part in range(PARTS))
        assert found["Rss"] > 0.9 * whole
        assert found["Pss"] < 0.6 * whole
    assert not [path for path in temporary.rglob("*") if path.is_file()]


def test_one_process_gets_the_concatenated_tables() -> None:
    tables = [pa.table({"ids": [[1, 2], []], "name": ["a", "b"]}), pa.table({"ids": [[3]], "name": ["c"]})]
    accelerator = make_accelerator("single", 1, "float32", None, cpu=True)
    assert once_per_machine(lambda: iter(tables), accelerator).equals(pa.concat_tables(tables))


@NEEDS_ROOT
def test_a_full_disk_is_reported_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tables() -> Iterator[pa.Table]:
        for part in range(3):
            yield pa.table({"a": np.full(3000, part)})

    accelerator = make_accelerator("single", 1, "float32", None, cpu=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with SmallDisk(tmp_path, size="64k"):
        with pytest.raises(UserError, match=rf"{tmp_path}: cannot be written: the disk {tmp_path} is full.*set TMPDIR"):
            once_per_machine(tables, accelerator)
        assert list(tmp_path.iterdir()) == []
