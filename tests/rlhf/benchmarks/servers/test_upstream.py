"""Requests to a server: how long they are tried, and what counts as an answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import httpx2
import pytest

from judge_server import JudgeServer
from library import echo, upstream
from rlhf.base.errors import UserError
from rlhf.base.files.journal import Journal
from rlhf.benchmarks.servers import upstream as upstream_module
from rlhf.benchmarks.servers.answers import completion_in, retry_after
from rlhf.benchmarks.servers.upstream import Connection, Sender, StoppedError, Upstream, reached_at, shown

REQUEST: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "a secret question"}]}


def send(server: JudgeServer, stopping: threading.Event | None = None) -> dict[str, Any]:
    return Sender(upstream(server, None), stopping or threading.Event()).send(REQUEST)


def test_retry_after_is_respected() -> None:
    with JudgeServer(echo, faults=[429], retry_after="1") as server:
        start = time.monotonic()
        assert send(server)["choices"]
        assert time.monotonic() - start >= 1


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with JudgeServer(echo) as server:
        assert send(server)["choices"]


def test_a_server_that_asks_for_a_long_wait_is_given_up() -> None:
    with JudgeServer(echo, faults=[429] * 9, retry_after="3600") as server:
        with pytest.raises(
            UserError, match=r"429 Too Many Requests \(planned_fault, planned\) and asks to wait 3600 sec"
        ):
            send(server)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("fault", [500, "garbage", "slow", "drop"])
def test_a_fault_that_does_not_pass_ends_it_and_says_no_text(fault: str) -> None:
    with JudgeServer(echo, faults=[fault] * 99) as server:
        with pytest.raises(UserError, match=f"judge's server {server.url} did not answer after 9 attempts: ") as caught:
            send(server)
        assert len(server.bodies) == 9
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_tried_as_often() -> None:
    server = JudgeServer(echo)
    with server:
        pass
    with pytest.raises(UserError, match="after 9 attempts: ConnectError"):
        send(server)


def test_delays_grow_and_nothing_is_tried_again_once_the_run_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return len(waited) == 8

    monkeypatch.setattr(upstream_module, "FIRST_DELAY", 0.5)
    monkeypatch.setattr(upstream_module, "LONGEST_DELAY", 8.0)
    waited: list[float] = []
    with JudgeServer(echo, faults=[503] * 99) as server, pytest.raises(StoppedError):
        send(server, Stopping())
    for seconds, longest in zip(waited, [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert longest * 0.75 <= seconds <= longest


def test_a_request_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        silent_one = Upstream("judge", {}, "gpt", reached_at(url), Journal(None), seconds=0.2)
        stopping = threading.Event()
        stopping.set()
        sender = Sender(silent_one, stopping)
        with pytest.raises(StoppedError, match="ReadTimeout"):
            sender.send(REQUEST)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "sk-é", ""])
def test_a_key_that_no_header_can_have(key: str) -> None:
    with pytest.raises(UserError, match="a space, a line break") as caught:
        Connection("https://me:password@host/v1?token=1", key)
    assert not {"secret", "password", "token"} & set(str(caught.value).replace("/", " ").split())
    assert shown("https://me:password@host:1/v1?token=1") == "https://host:1/v1"


COMPLETION = {"id": "1", "created": 3, "choices": [{"message": {"content": "a"}, "logprobs": None}], "model": "m"}


def test_an_answer_is_kept_whole_but_for_what_varies() -> None:
    found = completion_in(json.dumps({**COMPLETION, "system_fingerprint": "x"}).encode())
    assert found == {"choices": COMPLETION["choices"], "model": "m"}
    assert completion_in(b'{"choices": [{"message": {}, "l": -Infinity}]}') == {
        "choices": [{"message": {}, "l": -9999.0}]
    }


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b"<html>", b"\xff", b'{"choices": []}', b'{"choices": [1]}', b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {}, "l": NaN}]}', b'{"choices": [{"message": {}}]', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_completion(body: bytes) -> None:
    assert completion_in(body) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None), ({"retry-after": "3"}, 3), ({"retry-after": "0"}, None), ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None), ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, None),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx2.Headers(headers)) == seconds
    later = retry_after(httpx2.Headers({"retry-after": formatdate(time.time() + 60)}))
    assert later is not None
    assert 55 < later <= 60
