"""The relay, with a real client before it and real servers behind it that fail in every way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from judge_server import JudgeServer
from library import THREADS, ask, echo, questions, upstream
from rlhf.base.errors import UserError
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers import upstream as upstream_module
from rlhf.benchmarks.servers.budget import Usage
from rlhf.benchmarks.servers.upstream import Connection

SUPPORT = Path(__file__).parents[2] / "support"
STORM = [429, 500, "drop", 503, "slow", "garbage", 408, 502, 409, 504] * 3


def test_answers_are_the_servers_and_a_rerun_starts_no_server(folder: Path) -> None:
    texts = questions(20)
    with JudgeServer(echo) as server:
        asked = upstream(server, folder)
        with Relay([asked]) as relay:
            assert ask(relay, texts, temperature=0.0, logprobs=True) == texts
            assert relay.usage == {"judge": Usage(answered=20, input_tokens=2000, output_tokens=20)}
            first = relay.exchanges("judge")
        body = {"model": "gpt", "messages": [{"role": "user", "content": texts[0]}], "temperature": 0.0}
        assert {**body, "logprobs": True} in server.bodies

    @contextmanager
    def none() -> Iterator[Connection]:
        raise AssertionError("no server is needed")
        yield

    with Relay([replace(upstream(server, folder), connect=none)]) as relay:
        assert ask(relay, [*texts, texts[3]], temperature=0.0, logprobs=True) == [*texts, texts[3]]
        assert relay.usage == {"judge": Usage(from_journal=21)}
        assert relay.exchanges("judge") == first
    assert [exchange.digest for exchange in first] == sorted(exchange.digest for exchange in first)
    assert first[0].answer["choices"][0]["message"]["content"] == first[0].request["messages"][0]["content"]
    assert not {"id", "created"} & first[0].answer.keys()


def test_only_what_answers_depend_on_is_in_the_digest(folder: Path) -> None:
    with JudgeServer(echo) as server:
        same = upstream(server, folder)
        for asked in (same, replace(same, identity={"url": "other"}), replace(same, model="other")):
            with Relay([asked]) as relay:
                ask(relay, ["a"])
                ask(relay, ["a"], model="another name that the library gives it")
    assert [body["model"] for body in server.bodies] == ["gpt", "gpt", "other"]


def test_a_storm_of_faults_changes_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "RETRIES", len(STORM))  # one request may get them all
    texts = questions(60)
    with JudgeServer(echo, faults=STORM) as server, Relay([upstream(server, folder)]) as relay:
        assert ask(relay, texts) == texts
        assert relay.failure is None
    assert set(server.answered.values()) == {1}
    assert len(server.bodies) == 60 + len(STORM)


def test_equal_requests_in_flight_are_asked_once(folder: Path) -> None:
    with JudgeServer(echo, hold_from=0) as server, Relay([upstream(server, folder)]) as relay:
        with ThreadPoolExecutor(1) as library:
            asking = library.submit(ask, relay, ["a"] * 8)
            assert server.held.wait(20)
            server.go_on.set()
            assert asking.result() == ["a"] * 8
        assert relay.usage["judge"] == Usage(answered=1, from_journal=7, input_tokens=100, output_tokens=1)
    assert len(server.bodies) == 1


PROGRAM = """
import sys
from pathlib import Path
from library import THREADS, ask, questions
from rlhf.base.files.journal import Journal
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers.upstream import Upstream, reached_at
judge = Upstream("judge", {"url": "it"}, "gpt", reached_at(sys.argv[1]), Journal(Path(sys.argv[2])))
with Relay([judge]) as relay:
    ask(relay, questions(60))
"""


def test_after_kill_9_nothing_is_asked_again(folder: Path) -> None:
    with JudgeServer(echo, hold_from=30) as server:
        environment = {"PYTHONPATH": f"{SUPPORT.parents[1] / 'scripts'}:{SUPPORT}"}
        with subprocess.Popen([sys.executable, "-c", PROGRAM, server.url, str(folder)], env=environment) as program:
            assert server.held.wait(60)
            # all threads wait for an answer, and all that was answered is recorded
            while len(server.bodies) < server.answered.total() + THREADS or lines(folder) < server.answered.total():
                time.sleep(0.05)
            program.kill()
        before, server.hold_from = server.answered.total(), None
        server.go_on.set()
        with Relay([upstream(server, folder)]) as relay:
            assert ask(relay, questions(60)) == questions(60)
            assert relay.usage["judge"].from_journal == before >= 30
    assert set(server.answered.values()) == {1}


def lines(folder: Path) -> int:
    """In the files of a journal."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 301])
def test_what_the_user_must_mend_stops_everything_and_says_no_text(status: int, folder: Path) -> None:
    failures: list[str] = []
    with JudgeServer(echo, faults=[status] * 100) as server:
        judge = upstream(server, folder, key="sk-very-secret")
        with Relay([judge], on_failure=lambda: failures.append("now")) as relay:
            assert set(ask(relay, [f"secret {number}" for number in range(40)])) == {403}
        assert len(server.bodies) <= 8
    assert failures == ["now"]
    assert isinstance(relay.failure, UserError)
    assert f"the judge's server {server.url} answered {status}" in str(relay.failure)
    assert "secret" not in str(relay.failure)


def test_what_was_answered_before_a_failure_is_kept(folder: Path) -> None:
    with JudgeServer(echo) as server:
        with Relay([upstream(server, folder)]) as relay:
            ask(relay, questions(10))
            server._faults[:] = [401]
            assert ask(relay, ["another"]) == [403]
            assert ask(relay, [*questions(10), "a third"]) == [*questions(10), 403]
        with Relay([upstream(server, folder)]) as relay:
            assert ask(relay, questions(12)) == questions(12)
    assert set(server.answered.values()) == {1}


def test_each_answer_is_told(folder: Path) -> None:
    told: list[tuple[str, bool, int]] = []
    lock = threading.Lock()

    def on_answer(name: str, from_journal: bool, usage: Usage) -> None:
        with lock:
            told.append((name, from_journal, usage.answered))

    with JudgeServer(echo) as server, Relay([upstream(server, folder)], on_answer=on_answer) as relay:
        ask(relay, ["a"])
        ask(relay, ["a"])
    assert told == [("judge", False, 1), ("judge", True, 1)]


def test_a_server_that_does_not_start_and_a_bug_end_the_run(folder: Path) -> None:
    @contextmanager
    def failing() -> Iterator[Connection]:
        raise UserError("the policy's server has ended")
        yield

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    with JudgeServer(echo) as server:
        with Relay([replace(upstream(server, folder), connect=failing)]) as relay:
            assert ask(relay, ["a", "b"]) == [403, 403]
        assert str(relay.failure) == "the policy's server has ended"
        with Relay([upstream(server, folder)], on_answer=bug) as relay:
            assert ask(relay, ["a"]) == [0]
            assert ask(relay, ["b"]) == [403]
        assert isinstance(relay.failure, ZeroDivisionError)
        assert len(server.bodies) == 1
