"""A served policy that thinks: the library gets what is visible, and the record is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmark_server import ChatServer
from library import client
from rlhf.base.files.journal import Journal
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers.upstream import Connection, Upstream, reached_at
from rlhf.benchmarks.servers.visible_answers import WITH_TOKEN_IDS, visible_answer
from rlhf.responses.hiding import HideSettings
from rlhf.responses.thoughts import Thoughts
from rlhf.tokens.special_tokens import token_ids
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
THOUGHTS = Thoughts(TOKENIZER, HideSettings(open="<think>", close="</think>"))
SAID = {
    "finished": "<think>A secret.</think>\n\nAn answer.",
    "plain": "An answer.",
    "unfinished": "<think>A secret",
    "opened": "A secret.</think>An answer.",
    "opened and unfinished": "A secret",
}
VISIBLE = dict.fromkeys(SAID, "An answer.") | dict.fromkeys(("unfinished", "opened and unfinished"), "")


def asked_and_said(question: str, said: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the answer, as vLLM's server gives them."""
    prompt = token_ids(TOKENIZER, question + ("<think>\n" if question.startswith("opened") else ""))
    return prompt, [*token_ids(TOKENIZER, said), int(TOKENIZER.eos_token_id)]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda body: SAID[body["messages"][-1]["content"]], token_ids=asked_and_said) as serving:
        yield serving


def policy(server: ChatServer, folder: Path) -> Upstream:
    shown = partial(visible_answer, THOUGHTS)
    connect = reached_at(server.url)
    return Upstream("policy", {}, "policy", connect, Journal(folder), counts=False, options=WITH_TOKEN_IDS, shown=shown)


def test_the_library_sees_no_thought_and_the_record_is_whole(server: ChatServer, tmp_path: Path) -> None:
    with Relay([policy(server, tmp_path)]) as relay:
        for name, visible in VISIBLE.items():
            assert_answer(relay, name, visible)
        recorded = {exchange.answer["choices"][0]["message"]["content"] for exchange in relay.exchanges("policy")}
    assert recorded == set(SAID.values())
    assert all(body["return_token_ids"] for body in server.bodies)
    asked = len(server.bodies)

    @contextmanager
    def none() -> Iterator[Connection]:
        raise AssertionError("no server is needed")
        yield

    with Relay([replace(policy(server, tmp_path), connect=none)]) as relay:
        for name, visible in VISIBLE.items():
            assert_answer(relay, name, visible)
    assert len(server.bodies) == asked


def assert_answer(relay: Relay, question: str, visible: str) -> None:
    completion = client(relay, "policy").chat.completions.create(
        model="policy", messages=[{"role": "user", "content": question}]
    )
    choice, usage = completion.choices[0], completion.usage
    assert choice.message.content == visible
    assert choice.finish_reason == ("length" if question.endswith("unfinished") else "stop")
    assert usage is not None
    assert usage.completion_tokens == len(token_ids(TOKENIZER, visible)) + 1
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert "secret" not in completion.model_dump_json()
    assert choice.model_dump()["token_ids"] is None
