"""Several runs in one folder, each with its own files."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.exceptions import LockException

from workflow.records.run_locks import RunLocks


class Run(RunLocks):
    """A run that makes `<name>/made` of `<name>/given`."""

    def __init__(self, folder: Path, name: str) -> None:
        settings = SimpleNamespace(max_checksum_file_size=0)
        super().__init__(path=folder, dag=SimpleNamespace(workflow=SimpleNamespace(dag_settings=settings)))
        self.name = name

    def all_inputfiles(self) -> list[str]:
        return [f"{self.name}/given"]

    def all_outputfiles(self) -> list[str]:
        return [f"{self.name}/made"]


def locks(folder: Path) -> list[str]:
    return sorted(path.read_text().strip() for path in (folder / "locks").glob("*.lock"))


def test_a_run_that_ends_leaves_the_locks_of_others(tmp_path: Path) -> None:
    with ExitStack() as others:
        others.enter_context(Run(tmp_path, "a").lock())
        with Run(tmp_path, "b").lock():
            assert locks(tmp_path) == ["a/given", "a/made", "b/given", "b/made"]
        assert locks(tmp_path) == ["a/given", "a/made"]
        with pytest.raises(LockException):
            others.enter_context(Run(tmp_path, "a").lock())
        assert locks(tmp_path) == ["a/given", "a/made"]
    assert locks(tmp_path) == []


def test_a_second_run_that_looked_too_early_is_refused(tmp_path: Path) -> None:
    """It finds no lock, and before it writes its own, the first one does."""
    first = Run(tmp_path, "a")

    class Early(Run):
        def _write_locks(self, lock_type: str, keys: list[str]) -> None:
            if lock_type == "input":
                first._write_locks("output", first.all_outputfiles())
            super()._write_locks(lock_type, keys)

    second = Early(tmp_path, "a")
    assert not second.locked
    with pytest.raises(LockException), second.lock():
        pass
    assert locks(tmp_path) == ["a/made"]


def test_unlocking_removes_all(tmp_path: Path) -> None:
    Run(tmp_path, "a")._write_locks("output", ["a/made"])
    Run(tmp_path, "b")._write_locks("output", ["b/made"])
    assert locks(tmp_path) == ["a/made", "b/made"]
    Run(tmp_path, "c").cleanup_locks()
    assert locks(tmp_path) == []
    with Run(tmp_path, "a").lock():
        assert locks(tmp_path) == ["a/given", "a/made"]
