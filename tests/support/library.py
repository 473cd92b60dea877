"""What a benchmark's library does to the relay: it asks several questions at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

from judge_server import JudgeServer
from rlhf.base.files.journal import Journal
from rlhf.benchmarks.relay import Relay
from rlhf.benchmarks.servers.upstream import Upstream, reached_at

THREADS = 8


def echo(message: str) -> dict[str, float]:
    """The answer is the question."""
    return {message: 0.75, "other": 0.25}


def questions(count: int) -> list[str]:
    return [f"question {number}" for number in range(count)]


def upstream(server: JudgeServer, folder: Path | None, name: str = "judge", key: str | None = None, **more: Any) -> Any:
    """An upstream of this server, with its journal in `folder`."""
    return Upstream(name, {"url": "it"}, "gpt", reached_at(server.url, key), Journal(folder), **more)


def client(relay: Relay, side: str = "judge") -> openai.OpenAI:
    """As libraries make it, without retries."""
    return openai.OpenAI(base_url=relay.url(side), api_key=relay.key, max_retries=0)


def ask(relay: Relay, texts: Sequence[str], side: str = "judge", **options: Any) -> list[str | int | None]:
    """The answers to the questions, in order; the status where there is an error, 0 if there is no answer at all."""
    library = client(relay, side)

    def answer(text: str) -> str | int | None:
        messages: Any = [{"role": "user", "content": text}]
        try:
            completion = library.chat.completions.create(**{"model": "library's own", "messages": messages, **options})
        except openai.APIStatusError as error:
            return error.status_code
        except openai.APIConnectionError:
            return 0
        return completion.choices[0].message.content

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(answer, texts))
