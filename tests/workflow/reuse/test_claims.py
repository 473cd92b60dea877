"""Claims of real processes: one of them has a result, and what is left of a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlhf.base.files.temporary_files import process_name
from small_disk import NEEDS_ROOT
from small_models import SCRIPTS
from workflow.reuse import claims
from workflow.reuse.claims import CLAIMS, Claims, Holder

IDENTITY = "a1b2"
CLAIM = """
import os, sys, time
from pathlib import Path
from workflow.reuse.claims import Claims
store, name, starts_at, user = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
claims = Claims(store / name, lambda results: True)
os.umask(0o077)
if user:
    os.setgroups([GROUP]); os.setgid(GROUP); os.setuid(user)
time.sleep(max(0, starts_at - time.time()))
print(claims.acquire("a1b2", [store]), flush=True)
time.sleep(600)
"""
GROUP = 12345
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(store: Path) -> Iterator[Start]:
    """Starts a process that claims the result, prints who has it, and lives on."""
    running = []

    def started(name: str, at: float = 0.0, user: int = 0) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
        command = [sys.executable, "-c", CLAIM.replace("GROUP", str(GROUP)), str(store), name, str(at), str(user)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        return process

    yield started
    for process in running:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def own(store: Path, name: str = "own") -> Claims:
    return Claims(store / name, lambda results: results.name != "stranger")


def of_another_machine(store: Path, results: str = "far") -> Path:
    """The claim of a process of which nothing can be known here."""
    (store / CLAIMS).mkdir(exist_ok=True)
    path = store / CLAIMS / IDENTITY
    path.write_text(json.dumps({"results": str(store / results), "process": "node7-4026531836-12-34"}))
    return path


def test_of_many_that_start_at_once_one_has_it(start: Start) -> None:
    at = time.time() + 3
    answers = [said(process) for process in [start(f"e{number}", at) for number in range(6)]]
    assert answers.count("None") == 1
    (winner,) = (number for number, answer in enumerate(answers) if answer == "None")
    others = [answer for answer in answers if answer not in ("None", "another run")]  # which had not written yet
    assert all(answer.startswith(f"e{winner} (process ") for answer in others)
    assert said(start("late")).startswith(f"e{winner} (process ")


def test_what_a_killed_process_had_is_free_at_once(store: Path, start: Start) -> None:
    process = start("killed")
    assert said(process) == "None"
    waiting = own(store)
    holder = waiting.acquire(IDENTITY, [store])
    assert holder is not None
    assert Path(holder.results) == store / "killed"
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert waiting.acquire(IDENTITY, [store]) is None
    assert [path.name for path in (store / CLAIMS).iterdir()] == [IDENTITY]
    waiting.close()
    assert not (store / CLAIMS).exists()


def test_a_machine_that_is_gone_holds_it_until_its_time_has_stood_still(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock may be wrong by hours: only that the time changes counts."""
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.3)
    path, waiting = of_another_machine(store), own(store)
    for hours in (5, -5, 0):  # it is alive
        os.utime(path, (time.time() + 3600 * hours,) * 2)
        assert str(waiting.acquire(IDENTITY, [store])) == "far (process 12 on node7)"
        time.sleep(0.2)
    time.sleep(0.2)
    assert waiting.acquire(IDENTITY, [store]) is None
    assert json.loads(path.read_text())["process"] == process_name()


def test_a_claim_is_renewed_and_never_that_of_a_successor(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 0.05)
    mine = own(store)
    assert mine.acquire(IDENTITY, [store]) is None
    path = store / CLAIMS / IDENTITY
    os.utime(path, (1, 1))
    time.sleep(0.3)
    assert path.stat().st_mtime > 1
    path.rename(path.with_name("aside"))  # another run believes that this one is dead
    of_another_machine(store)
    os.utime(path, (1, 1))
    time.sleep(0.3)
    assert path.stat().st_mtime == 1
    mine.release(IDENTITY)
    assert "node7" in path.read_text()


def test_of_two_that_find_a_stale_claim_the_second_leaves_the_first_ones(store: Path) -> None:
    path = of_another_machine(store)
    before = path.stat()
    path.unlink()
    assert own(store).acquire(IDENTITY, [store]) is None
    claims._remove(path, (before.st_ino + 1, before.st_mtime_ns))
    assert json.loads(path.read_text())["process"] == process_name()
    assert [found.name for found in (store / CLAIMS).iterdir()] == [IDENTITY]


def test_all_folders_or_none(store: Path) -> None:
    first, second = store / "first", store / "second"
    second.mkdir()
    of_another_machine(second, "first/far")
    mine = own(first)
    assert mine.acquire(IDENTITY, [first, second]) is not None
    assert not (first / CLAIMS).exists()
    of_another_machine(second, "stranger")  # of whom nothing is taken
    assert mine.acquire(IDENTITY, [first, second]) is None
    assert (first / CLAIMS / IDENTITY).exists()


@pytest.mark.parametrize("text", ["", '{"results', "[]", '{"other": 1}'])
def test_a_claim_that_says_nothing_is_waited_for(text: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_another_machine(store).write_text(text)
    waiting = own(store)
    assert waiting.acquire(IDENTITY, [store]) == Holder("", "")
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.0)
    assert waiting.acquire(IDENTITY, [store]) is None


def test_where_no_file_can_be_created_a_run_goes_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(claims.logger, "warning", warnings.append)
    (store / CLAIMS).touch()
    mine = own(store)
    assert mine.acquire(IDENTITY, [store]) is None
    assert mine.acquire("other", [store]) is None
    mine.close()
    (warning,) = warnings
    assert warning.startswith(f"{store}: this run cannot say there what it computes (Not a directory)")


@NEEDS_ROOT
@pytest.mark.parametrize("mode", [0o2770, 0o2775])
def test_another_user_of_the_group(mode: int, store: Path, start: Start) -> None:
    os.chown(store, 0, GROUP)
    store.chmod(mode)
    for parent in store.parents[:3]:  # pytest's folders are its own
        parent.chmod(parent.stat().st_mode | 0o011)
    first = start("first", user=5001)
    assert said(first) == "None"
    assert said(start("second", user=5002)).startswith("first (process ")
    first.kill()
    first.wait()
    assert said(start("third", user=5003)) == "None"


def test_environments_are_made_one_run_after_the_other(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import snakemake.api  # noqa: F401  (before its other modules)
    from snakemake.dag import DAG

    from workflow.reuse.graph import ReusingGraph

    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 0.05)
    inside: list[int] = []

    def make(*_: object) -> None:
        inside.append(1)
        time.sleep(0.2)
        seen.append(len(inside))
        inside.pop()

    seen: list[int] = []
    monkeypatch.setattr(DAG, "create_conda_envs", make)
    graph = object.__new__(ReusingGraph)
    graph.conda_envs = {"data": object()}
    persistence = SimpleNamespace(conda_env_path=str(store / "conda"))
    graph.workflow = SimpleNamespace(persistence=persistence, dryrun=False)
    with ThreadPoolExecutor(3) as threads:
        for made in [threads.submit(graph.create_conda_envs) for _ in range(3)]:
            made.result()
    assert seen == [1, 1, 1]
    assert list((store / "conda").iterdir()) == []
