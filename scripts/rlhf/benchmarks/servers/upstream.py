"""A model's server as the relay sees it: where it is, what its answers depend on, and how a request is sent to it."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx2

from rlhf.base.errors import UserError
from rlhf.base.files.journal import REFUSED, Answer, Journal
from rlhf.base.settings import canonical_json
from rlhf.benchmarks.servers.answers import completion_in, described, retry_after
from rlhf.benchmarks.servers.budget import Price

RETRIES = 8
"""Retries after 408, 409, 425, 429, 5xx, time-outs, broken connections and answers that are none: after 0.5, 1, 2, 4,
8, 8, ... seconds, less up to a quarter at random, or after what Retry-After says."""
FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
LONGEST_RETRY_AFTER = 120.0
"""A server that asks for a longer wait, in seconds, is given up."""
SECONDS = 600.0
CONNECT_SECONDS = 30.0
PASSING = (408, 409, 425, 429)


@dataclass(frozen=True)
class Connection:
    """Where a server is.

    Raises:
        UserError: the key has characters that a header cannot have.
    """

    url: str
    """Base URL, such as `http://localhost:8000/v1`."""
    key: str | None = field(default=None, repr=False)
    """None sends none."""

    def __post_init__(self) -> None:
        if self.key is not None and not re.fullmatch(r"[!-~]+", self.key):
            raise UserError(f"the key for {shown(self.url)} has a space, a line break or a character beyond ASCII")


@dataclass(frozen=True)
class Upstream:
    """A server, and what was asked of it."""

    name: str
    """Of its side of the relay: `policy` or `judge`."""
    identity: dict[str, Any]
    """What answers depend on beside the request, of JSON's types: the digest of a checkpoint, or a URL."""
    model: str
    """Name of the model on the server, instead of the one in a request."""
    connect: Callable[[], AbstractContextManager[Connection]]
    """Entered for each attempt to send a request, and first when the journal does not have an answer. The server has to
    run inside."""
    journal: Journal
    price: Price | None = None
    counts: bool = True
    """Whether its answers count against the budget."""
    seconds: float = SECONDS
    """Timeout of a request."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields that each request gets."""
    shown: Callable[[Answer], Answer] | None = None
    """What the library gets in place of a completion; None: the completion. Recorded is always the whole."""


def reached_at(url: str, key: str | None = None) -> Callable[[], AbstractContextManager[Connection]]:
    """The `connect` of a server that runs somewhere else."""
    connection = Connection(url, key)
    return lambda: nullcontext(connection)


class StoppedError(UserError):
    """The run has stopped for another reason."""


@dataclass(frozen=True)
class Fault:
    """Why an attempt has no answer yet."""

    what: str
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


class Sender:
    """Sends requests to one server, again and again until it answers. Threads may use it at the same time.

    Connections ignore proxies, .netrc and redirects, so texts and key go to this server alone.

    Args:
        stopping: once it is set, nothing is tried again.
    """

    def __init__(self, upstream: Upstream, stopping: threading.Event) -> None:
        self._upstream, self._stopping = upstream, stopping
        self._client = httpx2.Client(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(upstream.seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None),
        )
        self._lock = threading.Lock()
        self.connecting = 0
        """Requests that wait for the server to start."""

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def send(self, request: dict[str, Any]) -> Answer:
        """The completion without what varies between equal answers, or `{"refused": status}`.

        Raises:
            UserError: the server does not start or does not answer, or key, URL or model are wrong.
            StoppedError: it would have to be asked again, and the run has stopped.
        """
        content = canonical_json(request).encode()
        for retry in count():
            with self._connected() as connection:
                outcome = self._attempt(connection, content)
            if not isinstance(outcome, Fault):
                return outcome
            self._wait(retry, outcome, connection)
        raise AssertionError

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with ExitStack() as stack:
            with self._lock:
                self.connecting += 1
            try:
                connection = stack.enter_context(self._upstream.connect())
            finally:
                with self._lock:
                    self.connecting -= 1
            yield connection

    def _attempt(self, connection: Connection, content: bytes) -> Answer | Fault:
        headers = {"Content-Type": "application/json"}
        if connection.key is not None:
            headers["Authorization"] = f"Bearer {connection.key}"
        try:
            url = f"{connection.url.rstrip('/')}/chat/completions"
            response = self._client.post(url, content=content, headers=headers)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            return Fault(type(error).__name__)
        status = response.status_code
        if status == HTTPStatus.OK:
            completion = completion_in(response.content)
            return completion or Fault("200 and an answer that is no completion in JSON")
        if status in REFUSED:
            return {"refused": status}
        if status in PASSING or status >= 500:
            return Fault(described(response), retry_after(response.headers))
        raise UserError(
            f"the {self._upstream.name}'s server {shown(connection.url)} answered {described(response)}: check its "
            "key, URL and model; what it has answered is kept"
        )

    def _wait(self, retry: int, fault: Fault, connection: Connection) -> None:
        """Wait before the next attempt."""
        server = f"the {self._upstream.name}'s server {shown(connection.url)}"
        if retry == RETRIES:
            raise UserError(
                f"{server} did not answer after {RETRIES + 1} attempts: {fault.what}. What was answered is kept; run "
                "again when the server is well."
            )
        delay = min(FIRST_DELAY * 2.0**retry, LONGEST_DELAY) * (1 - random.random() / 4)
        if fault.retry_after is not None:
            delay = fault.retry_after
        if delay > LONGEST_RETRY_AFTER:
            raise UserError(
                f"{server} answered {fault.what} and asks to wait {delay:.0f} seconds: run again then; what was "
                "answered is kept"
            )
        if self._stopping.wait(delay):
            raise StoppedError(f"{server} was not asked again ({fault.what}): the run has stopped")


def shown(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
