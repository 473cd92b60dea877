"""Requests to an OpenAI-compatible server: several at a time, retried, each answer recorded as it arrives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import openai

from rlhf.base.errors import UserError
from rlhf.base.files.journal import REFUSED, Answer, Journal, request_digest
from rlhf.base.settings import key_of_server

Messages = list[dict[str, str]]
IN_FLIGHT = 16
"""Requests at a time."""
RETRIES = 8
"""Retries after 429, 5xx, time-outs and broken connections: after 0.5, 1, 2, 4, 8, 8, ... seconds, less up to a quarter
at random, or after what Retry-After says, up to two minutes."""
SECONDS = 600
"""Timeout of a request."""
OF_NO_ACCOUNT: Any = dict.fromkeys(("OpenAI-Organization", "OpenAI-Project"), openai.omit)
"""Headers that the client would set from the environment, whatever the server."""
REFUSED_AT_FIRST = 32
"""Refused requests after which a judge that has answered none is given up."""


@dataclass(frozen=True)
class JudgeServer:
    """Where and how a judge is asked."""

    url: str
    """Base URL, such as `http://localhost:8000/v1`."""
    model: str
    options: dict[str, Any]
    """Further fields of each request, such as `temperature`."""
    key_variable: str | None
    """Environment variable that holds the key; None sends none."""


class Judge:
    """A judge, and what it has answered.

    Connections ignore proxies, .netrc and redirects, so texts and key go to this server alone.

    Raises:
        UserError: the environment variable of the key is not set.
    """

    def __init__(self, server: JudgeServer, journal: Journal) -> None:
        self._server, self._journal = server, journal
        key = "none" if server.key_variable is None else key_of_server(server.key_variable, "key_variable")
        self._client = openai.OpenAI(
            api_key=key,
            base_url=server.url,
            max_retries=RETRIES,
            timeout=SECONDS,
            default_headers=OF_NO_ACCOUNT,
            http_client=openai.DefaultHttpxClient(trust_env=False, follow_redirects=False),
        )
        self.requests = 0
        """Requests answered by the server, not by the journal."""
        self.refused = 0
        """Requests that it does not take."""

    def ask(self, conversations: Sequence[Messages]) -> list[Answer | None]:
        """The answers, in order; equal conversations are asked once. None where the server refuses a request.

        An answer has `content` (text) and `tokens`: for each token its text and `[text, log-probability]` of the
        likeliest ones in its place; empty if the server gives none.

        Raises:
            UserError: the server does not answer, or refuses all of the first requests. What was answered is kept.
        """
        requests = [self._request(messages) for messages in conversations]
        digests = [request_digest({"url": self._server.url, **request}) for request in requests]
        answers: dict[str, Answer | None] = dict(self._journal.find(digests))
        open_requests = {
            digest: request for digest, request in zip(digests, requests, strict=True) if digest not in answers
        }
        with ThreadPoolExecutor(IN_FLIGHT) as threads:
            waiting = {
                threads.submit(self._answer, digest, request): digest for digest, request in open_requests.items()
            }
            try:
                for done in as_completed(waiting):
                    answers[waiting[done]] = done.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return [answers[digest] for digest in digests]

    def _request(self, messages: Messages) -> dict[str, Any]:
        return {"model": self._server.model, "messages": messages, **self._server.options}

    def _answer(self, digest: str, request: dict[str, Any]) -> Answer | None:
        """Ask the server and record its answer; None if it refuses the request."""
        try:
            completion = self._client.chat.completions.create(**request)
            answer = _shortened(completion)
        except openai.APIStatusError as error:
            if error.status_code in REFUSED:
                self._count_refusal(error)
                return None
            raise UserError(f"the judge {self._server.url} answered {_described(error)}") from None
        except openai.APIConnectionError as error:
            raise UserError(
                f"the judge {self._server.url} did not answer after {RETRIES + 1} attempts: {type(error).__name__}. "
                "Start it, or fix `url`; what it has answered is kept."
            ) from None
        self._journal.record(digest, answer)
        self.requests += 1
        return answer

    def _count_refusal(self, error: openai.APIStatusError) -> None:
        self.refused += 1
        if self.refused >= REFUSED_AT_FIRST and not self.requests:
            raise UserError(f"the judge {self._server.url} refuses every request: {_described(error)}")


def _shortened(completion: Any) -> Answer:
    """What matters of a completion."""
    choice = completion.choices[0]
    listed = (choice.logprobs.content if choice.logprobs else None) or []
    tokens = [
        [token.token, [[other.token, other.logprob] for other in token.top_logprobs if math.isfinite(other.logprob)]]
        for token in listed
    ]
    return {"content": choice.message.content or "", "tokens": tokens}


def _described(error: openai.APIStatusError) -> str:
    """Status and kind of an error, without its message: that may hold the request's texts."""
    kind = ", ".join(str(value) for value in (error.code, error.type) if value)
    return f"{error.status_code} {error.response.reason_phrase}" + (f" ({kind})" if kind else "")
