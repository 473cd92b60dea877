"""The client, against a real server that fails in every way."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import openai._base_client
import pytest

from judge_server import JudgeServer
from rlhf.base.errors import UserError
from rlhf.base.files.journal import Journal
from rlhf.rewards.judge import client
from rlhf.rewards.judge.client import Judge, Messages
from rlhf.rewards.judge.client import JudgeServer as Server

OPTIONS = {"max_completion_tokens": 3, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}


def echo(message: str) -> dict[str, float]:
    """The verdict is the message itself, nearly for sure."""
    return {message: 0.75, "other": 0.25}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def judge(server: JudgeServer, folder: Path | None = None, key_variable: str | None = None) -> Judge:
    return Judge(Server(server.url, "gpt", OPTIONS, key_variable), Journal(folder))


def asking(*texts: str) -> list[Messages]:
    return [[{"role": "user", "content": text}] for text in texts]


def contents(answers: list[client.Answer | None]) -> list[str | None]:
    return [None if answer is None else answer["content"] for answer in answers]


def test_answers_come_in_order_with_their_log_probabilities(folder: Path) -> None:
    texts = [f"question {number}" for number in range(50)]
    with JudgeServer(echo) as server:
        answers = judge(server, folder).ask(asking(*texts))
    assert contents(answers) == texts
    assert answers[7] is not None
    ((token, top),) = answers[7]["tokens"]
    assert token == "question 7"
    assert [name for name, _ in top] == ["question 7", "other"]
    assert top[1][1] == pytest.approx(-1.3862943611)


def test_a_request_is_what_it_should_be() -> None:
    with JudgeServer(echo) as server:
        judge(server).ask(asking("Why?"))
    assert server.bodies == [{"model": "gpt", "messages": [{"role": "user", "content": "Why?"}], **OPTIONS}]


def test_equal_requests_are_made_once_and_never_again(folder: Path) -> None:
    with JudgeServer(echo) as server:
        first = judge(server, folder).ask(asking("a", "b", "a"))
        again = judge(server, folder)
        assert again.ask(asking("b", "a", "c"))[:2] == [first[1], first[0]]
        assert again.requests == 1
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 3


def test_another_server_or_model_is_asked_anew(folder: Path) -> None:
    with JudgeServer(echo) as server:
        judge(server, folder).ask(asking("a"))
        Judge(Server(server.url, "other", OPTIONS, None), Journal(folder)).ask(asking("a"))
        Judge(Server(server.url, "gpt", {**OPTIONS, "temperature": 1.0}, None), Journal(folder)).ask(asking("a"))
    assert len(server.bodies) == 3


@pytest.mark.parametrize("fault", [408, 409, 429, 500, 502, 503, 504, "drop", "slow"])
def test_faults_that_pass_are_waited_out(fault: int | str, folder: Path) -> None:
    texts = [f"question {number}" for number in range(20)]
    with JudgeServer(echo, faults=[fault] * 30) as server:
        assert contents(judge(server, folder).ask(asking(*texts))) == texts
    assert set(server.answered.values()) == {1}


def test_retry_after_is_respected(folder: Path) -> None:
    with JudgeServer(echo, faults=[429], retry_after="1") as server:
        start = time.monotonic()
        judge(server, folder).ask(asking("a"))
        assert time.monotonic() - start >= 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_has_no_answer_and_is_tried_again_in_the_next_run(status: int, folder: Path) -> None:
    with JudgeServer(echo, faults=[status]) as server:
        assert sorted(map(str, contents(judge(server, folder).ask(asking("a", "b"))))) in (["None", "a"], ["None", "b"])
        assert contents(judge(server, folder).ask(asking("a", "b"))) == ["a", "b"]


def test_a_judge_that_refuses_everything_is_given_up() -> None:
    with JudgeServer(echo, faults=[400] * 500) as server:
        with pytest.raises(UserError, match=r"refuses every request: 400 Bad Request \(planned_fault, planned\)"):
            judge(server).ask(asking(*map(str, range(200))))
        assert len(server.bodies) < 200


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_user_must_mend_stops_at_once_and_says_no_text(status: int, folder: Path) -> None:
    with JudgeServer(echo, faults=[status] * 100) as server:
        with pytest.raises(UserError) as caught:
            judge(server, folder).ask(asking("a secret question"))
        assert len(server.bodies) == 1
    assert f"{server.url} answered {status}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_was_answered_before_an_error_is_kept(folder: Path) -> None:
    texts = [f"question {number}" for number in range(client.IN_FLIGHT * 3)]
    with JudgeServer(echo) as server:
        judge(server, folder).ask(asking(*texts[:20]))
        server._faults[:] = [401]
        with pytest.raises(UserError):
            judge(server, folder).ask(asking(*texts))
        assert contents(judge(server, folder).ask(asking(*texts))) == texts
    assert set(server.answered.values()) == {1}


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=f"the judge {url} did not answer after 9 attempts"):
        Judge(Server(url, "gpt", {}, None), Journal(None)).ask(asking("a"))


def test_the_key_is_sent_and_in_nothing_else(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with JudgeServer(echo) as server:
        judge(server, folder, "MY_KEY").ask(asking("a"))
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert sent["authorization"] == "Bearer sk-very-secret"
    assert all(b"sk-very-secret" not in path.read_bytes() for path in folder.iterdir())
    monkeypatch.setenv("MY_KEY", "")
    with pytest.raises(UserError, match="MY_KEY"):
        judge(server, folder, "MY_KEY")


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with JudgeServer(echo) as server:
        assert contents(judge(server).ask(asking("a"))) == ["a"]


def test_keys_of_the_environment_that_are_not_named_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    with JudgeServer(echo) as server:
        judge(server).ask(asking("a"))
    assert "secret" not in str(server.headers)
    assert "my-organisation" not in str(server.headers)
