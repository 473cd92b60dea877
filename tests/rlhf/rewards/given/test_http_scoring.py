"""Scoring with a real reward server on localhost."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from chats import conversations as chats
from reward_server import Answer, SmallRewardServer, by_length
from rlhf.base.errors import UserError
from rlhf.machine.progress import Progress
from rlhf.rewards.given import http_scoring
from rlhf.rewards.given.http_scoring import PER_REQUEST, RETRIES, RewardServer, score_by_server
from rlhf.rewards.schema import NO_REWARD
from rlhf.rewards.scorer import Conversation, Score

CONVERSATIONS = [("Why?", "So."), ("Why?", ""), ("What?", "That."), ("Why?", "So.")]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_scoring, "PAUSE", 0.001)


def scores(server: RewardServer, conversations: list[tuple[str, str]] = CONVERSATIONS) -> list[Score]:
    with Progress(len(conversations), "responses", "scoring") as progress:
        return score_by_server(server, chats(conversations), progress)[0]


def test_each_response_has_its_score() -> None:
    with SmallRewardServer() as server:
        assert scores(RewardServer(server.url)) == [Score(3.0), Score(None, NO_REWARD), Score(5.0), Score(3.0)]
    records = [record("Why?", "So."), record("Why?", ""), record("What?", "That.")]
    assert server.bodies == [
        {"prompts": ["Why?", "Why?", "What?"], "responses": ["So.", "", "That."], "records": records}
    ]
    assert "Authorization" not in server.headers[0]


def record(prompt: str, response: str, **kept: object) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "response": response,
        "finish_reason": "stop",
        **kept,
    }


def test_records_have_all_turns_and_the_kept_columns() -> None:
    messages = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"))
    given = Conversation(messages, "So.", "length", '{"answer":[1,null]}')
    with SmallRewardServer() as server, Progress(1, "responses", "scoring") as progress:
        score_by_server(RewardServer(server.url), [given], progress)
    turns = [{"role": role, "content": content} for role, content in messages]
    sent = {"prompt": turns, "response": "So.", "finish_reason": "length", "answer": [1, None]}
    assert server.bodies == [{"prompts": ["Why?"], "responses": ["So."], "records": [sent]}]


def test_objectives_beside_the_scores() -> None:
    given = {"scores": [1.0, None, 2.0], "objectives": [{"a": 0.5, "b": 1}, None, {"b": 0.0, "a": 0.25}]}
    with SmallRewardServer(lambda body: (200, json.dumps(given))) as server, Progress(4, "", "") as progress:
        found, facts = score_by_server(RewardServer(server.url), chats(CONVERSATIONS), progress)
    first = Score(1.0, None, [0.5, 1.0])
    assert found == [first, Score(None, NO_REWARD), Score(2.0, None, [0.25, 0.0]), first]
    assert facts == {"objectives": ["a", "b"]}


def test_many_conversations_take_several_requests() -> None:
    many = [(f"prompt {n}", "x" * n) for n in range(1, 2 * PER_REQUEST + 2)]
    with SmallRewardServer() as server:
        assert scores(RewardServer(server.url), many) == [Score(float(n)) for n in range(1, len(many) + 1)]
    assert [len(body["prompts"]) for body in server.bodies] == [PER_REQUEST, PER_REQUEST, 1]


def test_texts_arrive_unchanged() -> None:
    odd = [('"\\\n\t\0', "é 🎈 <|eot_id|>")]
    with SmallRewardServer() as server:
        scores(RewardServer(server.url), odd)
    assert server.bodies == [{"prompts": [odd[0][0]], "responses": [odd[0][1]], "records": [record(*odd[0])]}]


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    with SmallRewardServer() as server:
        scores(RewardServer(server.url, "MY_TOKEN"))
    assert server.headers[0]["Authorization"] == "Bearer secret"
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(UserError, match="MY_TOKEN"):
        RewardServer(server.url, "MY_TOKEN")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_retried(status: int) -> None:
    left = [status] * RETRIES

    def busy(body: dict[str, Any]) -> Answer:
        return (left.pop(), "wait") if left else by_length(body)

    with SmallRewardServer(busy) as server:
        assert scores(RewardServer(server.url))[0] == Score(3.0)
    assert len(server.bodies) == RETRIES + 1


def test_a_server_that_stays_busy_is_an_error() -> None:
    with (
        SmallRewardServer(lambda body: (503, "loading the model")) as server,
        pytest.raises(UserError, match="answered 503 Service Unavailable: 'loading the model'"),
    ):
        scores(RewardServer(server.url))
    assert len(server.bodies) == RETRIES + 1


def test_no_server_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(
        UserError, match=rf"{url} did not answer after {RETRIES + 1} attempts: .*Start it, or fix `url`"
    ):
        scores(RewardServer(url))


def answer(scores: list[object]) -> Answer:
    return 200, json.dumps({"scores": scores})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((404, "no such page"), "answered 404 Not Found: 'no such page'"),
        ((302, ""), "answered 302 Found"),
        ((200, "<html>"), r"answered '<html>', not JSON of the form"),
        ((200, "[1, 2, 3]"), r"answered '\[1, 2, 3\]', not JSON of the form"),
        ((200, '{"scores": 3}'), r", not JSON of the form \{\"scores\""),
        (answer([1.0, 2.0]), "returned 2 scores for 3 responses"),
        (answer([1.0, "2", 3.0]), "returned '2', which is neither a finite .* Prompt: 'Why\\?'. Response: ''"),
        ((200, '{"scores": [1, 2, 3], "objectives": {"a": 1}}'), ', not JSON of the form .*"objectives": '),
        ((200, '{"scores": [1, 2, 3], "objectives": [{"a": 1}]}'), "returned 1 objectives for 3 responses"),
        ((200, '{"scores": [1, 2, 3], "objectives": [{"a": 1}, {"a": 1}, null]}'), "objectives are not those .*(a)"),
        ((200, '{"scores": [1, 2, 3], "objectives": [{"a": true}, null, null]}'), "'a' is no finite float32 number"),
        (answer([True, 2.0, 3.0]), "returned True, which is neither a finite"),
        ((200, '{"scores": [NaN, 1, 1]}'), "returned nan, which is neither a finite"),
        ((200, '{"scores": [1e39, 1, 1]}'), "returned 1e\\+39, which is neither a finite"),
    ],
)
def test_invalid_answers_are_errors(given: Answer, sentence: str) -> None:
    with SmallRewardServer(lambda body: given) as server, pytest.raises(UserError, match=sentence):
        scores(RewardServer(server.url))
    assert len(server.bodies) == 1
