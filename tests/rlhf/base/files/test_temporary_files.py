"""Temporary files of killed jobs go, those of the living stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from rlhf.base.artifacts import Artifact
from rlhf.base.files.folders import whole_folder
from rlhf.base.files.temporary_files import (
    has_ended,
    leftovers,
    process_name,
    remove,
    remove_leftovers,
    shown_process,
    temporary_path,
)
from rlhf.tokens.token_budget import TokenBudget
from small_models import SCRIPTS

ROWS = Artifact("rows", pa.schema([pa.field("a", pa.int32(), nullable=False)]), ("a",))
WRITE = """
import sys, time
from pathlib import Path
from rlhf.base.files.folders import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(600)
"""
Start = Callable[[Path], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that writes a folder for ever; the process, and where it writes."""
    running = []

    def started(target: Path) -> tuple[subprocess.Popen[str], Path]:
        environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
        command = [sys.executable, "-c", WRITE, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield started
    for process in running:
        process.kill()
        process.wait()


def kill(process: subprocess.Popen[str]) -> None:
    """It is dead when this returns, and a zombie: nobody has asked for its exit status yet."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def age(path: Path, hours: float) -> None:
    """Set the times of all that is there back."""
    for each in [*path.rglob("*"), path]:
        os.utime(each, (time.time() - 3600 * hours,) * 2)


def elsewhere(target: Path, machine: str = "node17-4026531836") -> Path:
    return target.with_name(f".{target.name}@{machine}-{os.getpid()}-1234.tmp")


def write_rows(target: Path) -> None:
    ROWS.write(target, [{"a": 1}], {})


def write_folder(target: Path) -> None:
    with whole_folder(target) as folder:
        (folder / "file").write_text("whole")


def write_budget(target: Path) -> None:
    TokenBudget(100, saved=target)._save()


@pytest.mark.parametrize("write", [write_rows, write_folder, write_budget])
def test_the_next_job_of_an_output_removes_what_a_killed_one_left(
    write: Callable[[Path], None], start: Start, tmp_path: Path
) -> None:
    target, other = tmp_path / "output", tmp_path / "other"
    killed, left = start(target)
    lives, at_work = start(target)
    of_another, at_work_too = start(other)
    dead_of_another = start(other)
    kill(killed)
    kill(dead_of_another[0])
    write(target)
    assert not left.exists()
    assert at_work.is_dir() and at_work_too.is_dir() and lives.poll() is None and of_another.poll() is None
    assert dead_of_another[1].is_dir()  # other outputs are not this job's concern
    assert target.exists()
    assert set(tmp_path.iterdir()) == {target, at_work, at_work_too, dead_of_another[1]}


def test_a_reused_process_number(tmp_path: Path) -> None:
    """This process has the number in the name, and another start."""
    own = temporary_path(tmp_path / "output")
    reused = own.with_name(own.name.rpartition("-")[0] + "-1.tmp")
    own.write_text("own")
    reused.write_text("of a dead process")
    remove_leftovers(tmp_path / "output")
    assert list(tmp_path.iterdir()) == [own]


def test_files_of_another_machine_are_kept_for_a_day(tmp_path: Path) -> None:
    target = tmp_path / "output"
    old, fresh = elsewhere(target), elsewhere(target, "node18-4026531836")
    for path in (old, fresh):
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "weights").write_bytes(bytes(10))
        age(path, hours=25)
    os.utime(fresh / "inner" / "weights", (time.time() - 3600 * 23,) * 2)  # the folders around it are older
    write_rows(target)
    assert set(tmp_path.iterdir()) == {target, fresh}


def test_the_same_number_in_another_container_is_another_process(tmp_path: Path) -> None:
    own = temporary_path(tmp_path / "output")
    machine, number, start = own.name.removeprefix(".output@").removesuffix(".tmp").rsplit("-", 2)
    host, space = machine.rsplit("-", 1)
    other = own.with_name(f".output@{host}-{int(space) + 1}-{number}-{int(start) + 1}.tmp")
    other.write_text("of a process that lives, for all that is known")
    remove_leftovers(tmp_path / "output")
    assert other.exists()


def test_leftovers_below_a_folder(start: Start, tmp_path: Path) -> None:
    killed, left = start(tmp_path / "a" / "checkpoint")
    _, at_work = start(tmp_path / "b" / "checkpoint")
    kill(killed)
    named = [".step-00000003.tmp", ".step-00000003.tmp.removed", ".training_state.removed", ".rows.parquet.812.tmp"]
    states = [tmp_path / "c" / name for name in named]
    for path in states:
        path.mkdir(parents=True)
        (path / ".inner.tmp").write_bytes(bytes(50))  # not listed beside the folder around it
    for path in states[:3]:
        age(path, hours=25)
    for name in ("step-00000002", "visible.tmp", ".snakemake_timestamp", ".tmp"):
        (tmp_path / "c" / name).write_text("not temporary")
    found = {each.path: each for each in leftovers(tmp_path)}
    assert set(found) == {left, at_work, *states}
    assert {path for path, each in found.items() if each.kept is None} == {left, *states[:3]}
    assert (found[left].size, found[states[0]].size) == (1000, 50)
    assert "is alive and writing it" in (found[at_work].kept or "")
    assert found[states[3]].kept == "its owner may be alive: it was written to in the last 24 hours"


def test_links_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    link = elsewhere(tmp_path / "output")
    link.symlink_to(precious)
    remove(link)
    assert (precious / "file").exists() and not link.is_symlink()


def test_what_is_known_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    own = process_name()
    assert has_ended(own) is False
    assert has_ended(own.rpartition("-")[0] + "-1") is True
    assert has_ended("node7-4026531836-12-34") is None
    assert has_ended("") is None
    assert shown_process("node7-4026531836-12-34") == "process 12 on node7"

    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)  # as of another user's process, where /proc shows one's own alone
    monkeypatch.setattr("rlhf.base.files.temporary_files._start_of", lambda _: None)
    assert has_ended(own) is None
