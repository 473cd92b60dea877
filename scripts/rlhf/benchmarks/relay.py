"""The relay between a benchmark's library and the servers of policy and judge: nothing is ever asked twice.

The library asks an OpenAI-compatible server on this machine. What the journal has is answered from there; all else is
sent on, tried again after faults that pass, and recorded before it is answered. Keys do not reach the library, and
neither texts nor keys reach a log or an error.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from rlhf.base.errors import UserError
from rlhf.base.files.journal import Answer
from rlhf.benchmarks.servers.budget import Budget, Spending, Usage
from rlhf.benchmarks.servers.local_http import RelayServer, Reply
from rlhf.benchmarks.servers.side import Exchange, Side
from rlhf.benchmarks.servers.upstream import StoppedError, Upstream

READ_SECONDS = 5.0
"""Time between two looks for what other jobs have recorded."""
LINGER_SECONDS = 30.0
"""How long answers that count, and are on their way, are waited for when the relay stops."""


class Relay:
    """Serves on a free port of this machine while the context is open. Journals are read when it opens.

    Args:
        upstreams: one for each side.
        budget: the limits for all answers that count, of all jobs that record in the same journal.
        on_answer: called after each answer with the side's name, whether it came from the journal, and the side's
            usage; from several threads.
        on_failure: called once, when `failure` is set: nothing is sent on any more, so end the library.

    Raises:
        UserError: money is limited, and a price is missing.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        budget: Budget | None = None,
        on_answer: Callable[[str, bool, Usage], None] | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        budget = budget or Budget()
        prices = [upstream.price for upstream in upstreams if upstream.counts]
        if budget.money is not None and None in prices:
            raise UserError("`benchmarks.budget.money` needs the price of each server: set it, or limit the requests")
        self._stopping = threading.Event()
        self._spending = Spending(budget)
        self._sides = {upstream.name: Side(upstream, self._spending, self._stopping) for upstream in upstreams}
        self._on_answer, self._on_failure = on_answer, on_failure
        self._lock, self._reading, self._read_at = threading.Lock(), threading.Lock(), -READ_SECONDS
        self.key = secrets.token_hex(16)
        """The library's key for the relay: other users of this machine cannot use it."""
        self.failure: BaseException | None = None
        """Why nothing is sent on any more: a UserError, or an exception that is a bug."""
        self._closed = False

    def __enter__(self) -> Self:
        self._read_journals()
        models = {name: _list_of_models(side.upstream) for name, side in self._sides.items()}
        self._server = RelayServer(self.key, models, self._reply, self._fail)
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop, but wait for answers that are paid for and on their way, for a short time."""
        self._stopping.set()
        deadline = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < deadline and any(side.is_owed() for side in self._sides.values()):
            time.sleep(0.02)
        self._closed = True
        self._server.shutdown()
        self._server.server_close()
        for side in self._sides.values():
            side.sender.close()

    def url(self, side: str) -> str:
        """The base URL of a side, `policy` or `judge`, for the library."""
        return f"http://127.0.0.1:{self._server.server_port}/{side}/v1"

    @property
    def usage(self) -> dict[str, Usage]:
        """What this run has used of each side."""
        return {name: side.usage for name, side in self._sides.items()}

    def exchanges(self, side: str) -> list[Exchange]:
        """All requests of the library in this run that have an answer or a refusal, by digest."""
        return self._sides[side].exchanges()

    def _reply(self, name: str, body: dict[str, Any]) -> Reply:
        """Answer a request of the library."""
        side = self._sides[name]
        request = {**body, "model": side.upstream.model, **side.upstream.options}
        if request.pop("stream", False):
            return Reply(400, "answers are not streamed here")
        try:
            digest = side.digest(request)
        except ValueError:  # infinity, or half of a surrogate pair
            return Reply(400, "the request is no proper JSON")
        answer, from_journal = self._answer(side, digest, request)
        usage = side.use(digest, request, answer, from_journal=from_journal)
        if self._on_answer is not None:
            self._on_answer(name, from_journal, usage)
        if "refused" in answer:
            return Reply(answer["refused"], "the server refuses this request")
        shown = side.upstream.shown(answer) if side.upstream.shown else answer
        return Reply(200, {"id": f"chatcmpl-{digest}", "created": 0, **shown})

    def _answer(self, side: Side, digest: str, request: dict[str, Any]) -> tuple[Answer, bool]:
        """The answer, and whether it was there already, or another thread had asked for it."""
        future, mine = side.claim(digest)
        if not mine:
            return future.result(), True
        try:
            if self._stopping.is_set():
                raise StoppedError("the run has stopped")
            self._read_journals()
            found = side.find(digest)  # another job may have asked
            answer = found if found is not None else side.ask(digest, request)
        except BaseException as error:
            side.settle(digest, error)
            raise
        side.settle(digest, answer)
        return answer, found is not None

    def _read_journals(self) -> None:
        """Add what other jobs have recorded, now and then."""
        with self._reading:
            if time.monotonic() - self._read_at >= READ_SECONDS:
                for side in self._sides.values():
                    side.read_journal()
                self._read_at = time.monotonic()

    def _fail(self, error: BaseException) -> None:
        """Send nothing on any more."""
        with self._lock:
            if self.failure is not None or self._closed or isinstance(error, StoppedError):
                return  # requests that the end of the context cuts off fail in many ways
            self.failure = error
            self._stopping.set()
        if self._on_failure is not None:
            self._on_failure()


def _list_of_models(upstream: Upstream) -> dict[str, Any]:
    """As GET /v1/models answers it."""
    model = {"id": upstream.model, "object": "model", "created": 0, "owned_by": upstream.name}
    return {"object": "list", "data": [model]}
