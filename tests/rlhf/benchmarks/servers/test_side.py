"""One side of the relay: refusals, other jobs, and a disk that is full."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from judge_server import JudgeServer
from library import ask, echo, questions, upstream
from rlhf.benchmarks import relay as relay_module
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers import side
from rlhf.benchmarks.servers.budget import Usage
from small_disk import NEEDS_ROOT, SmallDisk


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


def test_an_answer_that_is_paid_for_and_on_its_way_is_waited_for_at_the_end(folder: Path) -> None:
    with JudgeServer(echo, hold_from=0) as server, ThreadPoolExecutor(1) as library:
        with Relay([upstream(server, folder)]) as relay:
            asking = library.submit(ask, relay, ["a"])
            assert server.held.wait(20)
            threading.Timer(0.5, server.go_on.set).start()
        asking.result()
        with Relay([upstream(server, folder)]) as relay:
            assert ask(relay, ["a"]) == ["a"]
    assert len(server.bodies) == 1


def test_an_answer_that_does_not_count_is_not_waited_for(folder: Path) -> None:
    with JudgeServer(echo, hold_from=0) as server, ThreadPoolExecutor(1) as library:
        with Relay([upstream(server, folder, counts=False)]) as relay:
            asking = library.submit(ask, relay, ["a"])
            assert server.held.wait(20)
            start = time.monotonic()
        assert time.monotonic() - start < 5
        server.go_on.set()
        asking.result()
    assert relay.failure is None


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
