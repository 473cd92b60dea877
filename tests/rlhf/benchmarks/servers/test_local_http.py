"""The relay serves its library alone, and gives away neither keys nor texts."""

from __future__ import annotations

import http.client
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from judge_server import JudgeServer
from library import ask, client, echo, upstream
from rlhf.benchmarks.relay import Relay


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
        chat, body = "/judge/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}
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
