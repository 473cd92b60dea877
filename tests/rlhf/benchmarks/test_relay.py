"""The relay, with a real client before it and real servers behind it that fail in every way."""

from __future__ import annotations

import http.client
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from judge_server import JudgeServer
from library import THREADS, ask, client, echo, questions, upstream
from rlhf.base.errors import UserError
from rlhf.benchmarks import relay as relay_module
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers import side
from rlhf.benchmarks.servers import upstream as upstream_module
from rlhf.benchmarks.servers.budget import Usage
from rlhf.benchmarks.servers.upstream import Connection
from small_disk import NEEDS_ROOT, SmallDisk

SUPPORT = Path(__file__).parents[2] / "support"
STORM = [429, 500, "drop", 503, "slow", "garbage", 408, 502, 409, 504] * 3


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(upstream_module, "LONGEST_DELAY", 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


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


def test_refused_requests_are_not_asked_again(folder: Path) -> None:
    with JudgeServer(echo) as server:
        with Relay([upstream(server, folder)]) as relay:
            ask(relay, ["a"])
            server._faults[:] = [400, 413, 422]
            assert sorted(map(str, ask(relay, ["b", "c", "d", "e"]))) in [["400", "413", "422", t] for t in "bcde"]
            assert relay.usage["judge"].refused == 3
        with Relay([upstream(server, folder)]) as relay:
            assert sorted(map(str, ask(relay, ["b", "c", "d", "e"])))[:3] == ["400", "413", "422"]
            assert relay.usage["judge"] == Usage(refused=3, from_journal=1)
            assert [exchange.answer for exchange in relay.exchanges("judge")].count({"refused": 413}) == 1
    assert len(server.bodies) == 5


def test_a_server_that_refuses_everything_is_given_up_and_its_refusals_are_forgotten(folder: Path) -> None:
    with JudgeServer(echo, faults=[400] * 500) as server:
        with Relay([upstream(server, folder)]) as relay:
            assert set(ask(relay, questions(100))) == {400, 403}
        assert side.REFUSED_AT_FIRST <= len(server.bodies) < side.REFUSED_AT_FIRST + 8
        assert "refuses every request (400)" in str(relay.failure)
        server._faults.clear()
        with Relay([upstream(server, folder)]) as relay:
            assert ask(relay, questions(3)) == questions(3)


def test_each_key_goes_to_its_own_server(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    with JudgeServer(echo) as policy, JudgeServer(echo) as judge:
        sides = [upstream(policy, folder / "p", "policy"), upstream(judge, folder / "j", key="sk-very-secret")]
        with Relay(sides) as relay:
            assert ask(relay, ["a"], "policy") == ask(relay, ["a"], "judge") == ["a"]
    assert {name.lower(): value for name, value in judge.headers[0].items()}["authorization"] == "Bearer sk-very-secret"
    assert "authorization" not in {name.lower() for name in policy.headers[0]}
    assert "my-organisation" not in str([policy.headers, judge.headers])
    assert relay.key not in str([policy.headers, judge.headers])
    assert all(b"sk-very-secret" not in path.read_bytes() for path in folder.glob("*/*"))
    assert "sk-very-secret" not in repr(sides)


def test_what_is_not_for_the_relay(folder: Path) -> None:
    def post(path: str, body: Any, key: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", relay._server.server_port)
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, text, {"Authorization": f"Bearer {key}"})
        return connection.getresponse().status

    with JudgeServer(echo) as server, Relay([upstream(server, folder)]) as relay:
        chat, body = "/judge/v1/chat/completions", {"messages": [{"content": "a"}]}
        assert post(chat, body, relay.key) == 200
        assert post(chat, body, "sk-other") == 401
        assert post("/judge/v1/completions", body, relay.key) == 404
        assert post("/policy/v1/chat/completions", body, relay.key) == 404
        for wrong in ({**body, "stream": True}, [], "{", '{"a": NaN}', '{"a": "\\ud800"}'):
            assert post(chat, wrong, relay.key) == 400
        assert [model.id for model in client(relay).models.list()] == ["gpt"]
    assert relay.failure is None
    assert len(server.bodies) == 1


def test_no_text_is_logged(folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("openai").setLevel(logging.CRITICAL)  # the library's own
    with JudgeServer(echo, faults=[429, "drop"]) as server:
        judge = upstream(server, folder, key="sk-very-secret")
        with Relay([judge]) as relay:
            assert ask(relay, ["a hidden text"]) == ["a hidden text"]
    shown = caplog.text + "".join(capfd.readouterr())
    assert "hidden" not in shown
    assert "sk-very" not in shown


def test_answers_of_another_job_are_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "READ_SECONDS", 0.0)
    with (
        JudgeServer(echo) as server,
        Relay([upstream(server, folder)]) as one,
        Relay([upstream(server, folder)]) as two,
    ):
        assert ask(one, questions(5)) == ask(two, questions(5)) == questions(5)
        assert two.usage["judge"].from_journal == 5
    assert len(server.bodies) == 5


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


@NEEDS_ROOT
def test_a_full_disk_is_named_and_no_answer_is_given_that_is_not_kept(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "64k"), JudgeServer(echo) as server:
        with Relay([upstream(server, tmp_path / "journal")]) as relay:
            texts = [f"{number} " + "x" * 4000 for number in range(40)]
            answers = ask(relay, texts)
        assert f"the disk {tmp_path} is full" in str(relay.failure)
        given = [text for text, answer in zip(texts, answers, strict=True) if answer == text]
        assert 0 < len(given) < 40
        with Relay([upstream(server, tmp_path / "journal")]) as relay:
            assert ask(relay, given) == given
            assert relay.usage["judge"].from_journal == len(given)
