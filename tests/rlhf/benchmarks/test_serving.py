"""Servers on this machine: they start, fail with a reason, take turns, and never outlive their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.base.errors import UserError
from rlhf.base.files.journal import Journal
from rlhf.benchmarks import serving
from rlhf.benchmarks.servers.upstream import Sender, StoppedError, Upstream, reached_at
from rlhf.benchmarks.serving import ModelServer, OneAtATime

SUPPORT = Path(__file__).parents[2] / "support"
SMALL = SUPPORT / "small_model_server.py"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.3)


def command(how: str, folder: Path, port: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    return [sys.executable, str(SMALL), str(port), how, str(folder)]


def server(tmp_path: Path, how: str = "ready", name: str = "policy", **more: Any) -> ModelServer:
    return ModelServer(
        f"the {name}", partial(command, how, tmp_path / name), dict(os.environ), tmp_path / "log", **more
    )


def message(connection: serving.Connection) -> dict[str, Any]:
    upstream = Upstream("policy", {}, "m", reached_at(connection.url, connection.key), Journal(None))
    return dict(Sender(upstream, threading.Event()).send({})["choices"][0]["message"])


def processes(folder: Path) -> list[int]:
    """Process IDs of the small server's processes, dead or alive."""
    return [int(path.name) for path in folder.iterdir()]


def alive(folder: Path) -> list[int]:
    """Those that run."""
    return [
        number
        for number in processes(folder)
        if psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    ]


def test_a_server_starts_answers_and_ends_with_all_its_processes(tmp_path: Path) -> None:
    with server(tmp_path) as connection:
        answer = message(connection)
        assert int(answer["content"]) in processes(tmp_path / "policy")
        assert answer["key"] == f"Bearer {answer['variables']['VLLM_API_KEY']}"
        assert answer["variables"]["DO_NOT_TRACK"] == answer["variables"]["VLLM_NO_USAGE_STATS"] == "1"
        assert len(alive(tmp_path / "policy")) == 3
    assert alive(tmp_path / "policy") == []
    assert len(processes(tmp_path / "policy")) == 3


def test_a_stubborn_server_is_killed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), server(tmp_path, "stubborn"):
        start = time.monotonic()
        raise KeyboardInterrupt
    assert 1 <= time.monotonic() - start < 5
    assert alive(tmp_path / "policy") == []


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an error of an earlier start\n")
    with pytest.raises(UserError) as caught, server(tmp_path, "crash"):
        pass
    log = tmp_path / "log"
    assert str(caught.value) == (
        f"the policy's server has ended with status 1: RuntimeError: the model is too large (log: {log})"
    )
    assert log.read_text().startswith("an error of an earlier start\nloading\n")
    assert alive(tmp_path / "policy") == []


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    none = ModelServer("the policy", lambda port: [str(tmp_path / "none")], dict(os.environ), tmp_path / "log")
    with pytest.raises(UserError, match=r"has ended with status 1: FileNotFoundError: .*/none"), none:
        pass


def test_a_server_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    late = server(tmp_path, "late", start_seconds=2)
    with pytest.raises(UserError, match=r"was not ready after 2 seconds: loading \(log: .*log\)"), late:
        pass
    assert len(processes(tmp_path / "policy")) == 3
    assert alive(tmp_path / "policy") == []


def test_a_server_that_ends_later_is_noticed(tmp_path: Path) -> None:
    policy = server(tmp_path)
    with OneAtATime() as turns:
        with turns.connect(policy) as connection:
            os.kill(int(message(connection)["content"]), signal.SIGKILL)
        assert policy._process is not None
        policy._process.wait(20)
        with pytest.raises(UserError, match="the policy's server has ended; its log says why"), turns.connect(policy):
            pass
    assert alive(tmp_path / "policy") == []


def test_servers_take_turns_and_change_rarely(tmp_path: Path) -> None:
    """Eight threads that ask the policy, then the judge: all policy requests, then all of the judge."""
    most, lock = [], threading.Lock()

    def work(number: int) -> list[str]:
        answers = []
        for asked in (policy, judge):
            with turns.connect(asked) as connection:
                with lock:
                    most.append(len(alive(tmp_path / "policy") or []) + len(alive(tmp_path / "judge") or []))
                answers.append(message(connection)["content"])
        return answers

    policy, judge = server(tmp_path), server(tmp_path, name="judge")
    for name in ("policy", "judge"):
        (tmp_path / name).mkdir()
    with OneAtATime() as turns, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(work, range(16)))
    assert max(most) == 3
    assert len(processes(tmp_path / "policy")) <= 6
    assert len(processes(tmp_path / "judge")) <= 6
    assert all(int(first) in processes(tmp_path / "policy") for first, _ in answers)
    assert all(int(second) in processes(tmp_path / "judge") for _, second in answers)
    assert alive(tmp_path / "policy") == alive(tmp_path / "judge") == []


def test_a_server_that_is_starting_ends_with_the_others(tmp_path: Path) -> None:
    late = server(tmp_path, "late")
    with ThreadPoolExecutor(1) as threads:
        with OneAtATime() as turns:
            starting = threads.submit(turns.connect(late).__enter__)
            while not (tmp_path / "policy").exists() or len(processes(tmp_path / "policy")) < 3:
                time.sleep(0.05)
        with pytest.raises(StoppedError):
            starting.result()
        with pytest.raises(StoppedError), turns.connect(late):
            pass
    assert alive(tmp_path / "policy") == []


OWNER = """
import os, sys, time
from pathlib import Path
from functools import partial
from rlhf.benchmarks import serving
from test_serving import server
serving.STOP_SECONDS = 1.0
with server(Path(sys.argv[1]), sys.argv[2]) as connection:
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["ready", "stubborn", "late"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_its_owner(how: str, number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    paths = f"{Path(serving.__file__).parents[2]}:{Path(__file__).parent}:{SUPPORT}"
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), how], env=environment, stderr=-3) as owner:
        while not folder.exists() or len(processes(folder)) < 3:
            time.sleep(0.05)
        assert len(alive(folder)) == 3
        owner.send_signal(number)
        owner.wait()
    deadline = time.monotonic() + 20
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(folder) == []


def test_nothing_outlives_the_watchdog(tmp_path: Path) -> None:
    """If the watchdog itself is killed, the server is; what the server started has to notice that on its own."""
    policy = server(tmp_path)
    with policy as connection:
        first = int(message(connection)["content"])
        assert policy._process is not None
        policy._process.kill()
        deadline = time.monotonic() + 10
        while first in alive(tmp_path / "policy") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert first not in alive(tmp_path / "policy")
    for orphan in alive(tmp_path / "policy"):
        os.kill(orphan, signal.SIGKILL)
