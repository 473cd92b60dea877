"""The relay between a benchmark's library and the servers of policy and judge: nothing is ever asked twice.

The library asks an OpenAI-compatible server on this machine. What the journal has is answered from there; all else is
sent on, tried again after faults that pass, and recorded before it is answered. Keys do not reach the library, and
neither texts nor keys reach a log or an error.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import named_full_disk
from rlhf.base.files.journal import Answer, request_digest
from rlhf.benchmarks.budget import Budget, Price, Spending, Usage
from rlhf.benchmarks.local_http import Reply, serve
from rlhf.benchmarks.upstream import Sender, StoppedError, Upstream

REFUSED_AT_FIRST = 32
"""Refused requests after which a server that has answered none is given up."""
READ_SECONDS = 5.0
"""Time between two looks for what other jobs have recorded."""
LINGER_SECONDS = 30.0
"""How long answers that count, and are on their way, are waited for when the relay stops."""


@dataclass(frozen=True)
class Exchange:
    """A request and what came back."""

    digest: str
    request: dict[str, Any]
    """As it was sent on."""
    answer: Answer
    """The completion, or `{"refused": status}`."""


@dataclass
class _Side:
    """An upstream in use."""

    upstream: Upstream
    sender: Sender
    answers: dict[str, Answer] = field(default_factory=dict)
    """All of the journal."""
    asked: dict[str, Future[Answer]] = field(default_factory=dict)
    """What the server is asked now."""
    unsure: list[tuple[str, Answer]] | None = field(default_factory=list)
    """Refusals before the server has answered anything in this run; then None."""
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Requests of the library, by digest."""
    usage: Usage = field(default_factory=Usage)


class Relay:
    """Serves on a free port of this machine while the context is open. Journals are read when it opens.

    Args:
        upstreams: one for each side.
        budget: the limits for all answers that count: those of `upstreams`, and those in `journals`.
        journals: folders of further journals whose answers count, with their prices.
        on_answer: called after each answer with the side's name, whether it came from the journal, and the side's
            usage; from several threads.
        on_failure: called once, when `failure` is set: no request will be sent on any more, so end the library.

    Raises:
        UserError: money is limited, and a price is missing.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        budget: Budget | None = None,
        journals: Mapping[Path, Price | None] | None = None,
        on_answer: Callable[[str, bool, Usage], None] | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        budget = budget or Budget()
        own = {upstream.journal.folder.resolve() for upstream in upstreams if upstream.journal.folder is not None}
        others = {folder: price for folder, price in (journals or {}).items() if folder.resolve() not in own}
        prices = [*others.values(), *(upstream.price for upstream in upstreams if upstream.counts)]
        if budget.money is not None and None in prices:
            raise UserError("`benchmarks.budget.money` needs the price of each server: set it, or limit the requests")
        self._stopping = threading.Event()
        self._sides = {upstream.name: _Side(upstream, Sender(upstream, self._stopping)) for upstream in upstreams}
        self._spending = Spending(budget, others)
        self._on_answer, self._on_failure = on_answer, on_failure
        self._lock, self._reading, self._read_at = threading.Lock(), threading.Lock(), -READ_SECONDS
        self.key = secrets.token_hex(16)
        """The library's key for the relay: other users of this machine cannot use it."""
        self.failure: BaseException | None = None
        """Why nothing is sent on any more: a UserError, or an exception that is a bug."""

    def __enter__(self) -> Self:
        self._read_journals(wait=True)
        self._server = serve(self.key, {side: self._models(side) for side in self._sides}, self._reply, self._fail)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop, but wait for answers that are paid for and on their way, for a short time."""
        self._stopping.set()
        deadline = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < deadline and any(map(_is_owed, self._sides.values())):
            time.sleep(0.02)
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
        with self._lock:
            return {name: replace(side.usage) for name, side in self._sides.items()}

    def exchanges(self, side: str) -> list[Exchange]:
        """All requests of the library in this run that have an answer, by digest."""
        with self._lock:
            of = self._sides[side]
            return [Exchange(digest, of.used[digest], of.answers[digest]) for digest in sorted(of.used)]

    def _models(self, side: str) -> dict[str, Any]:
        """The list of models."""
        model = {"id": self._sides[side].upstream.model, "object": "model", "created": 0, "owned_by": side}
        return {"object": "list", "data": [model]}

    def _reply(self, name: str, body: dict[str, Any]) -> Reply:
        """Answer a request of the library."""
        side = self._sides[name]
        request = {**body, "model": side.upstream.model}
        if request.pop("stream", False):
            return Reply(400, "answers are not streamed here")
        try:
            digest = request_digest({"identity": side.upstream.identity, "request": request})
        except ValueError:  # infinity, or half of a surrogate pair
            return Reply(400, "the request is no proper JSON")
        answer, from_journal = self._find_or_ask(side, digest, request)
        with self._lock:
            side.used[digest] = request
            side.usage.from_journal += from_journal and "refused" not in answer
            side.usage.refused += "refused" in answer
            usage = replace(side.usage)
        if self._on_answer is not None:
            self._on_answer(name, from_journal, usage)
        if "refused" in answer:
            return Reply(answer["refused"], "the server refuses this request")
        return Reply(200, {"id": f"chatcmpl-{digest}", "created": 0, **answer})

    def _find_or_ask(self, side: _Side, digest: str, request: dict[str, Any]) -> tuple[Answer, bool]:
        """The answer, and whether it was there already, or another thread had asked for it."""
        with self._lock:
            if digest in side.answers:
                return side.answers[digest], True
            asked = side.asked.get(digest)
            if asked is None:
                mine = side.asked[digest] = Future()
        if asked is not None:
            return asked.result(), True
        try:
            found = self._ask(side, digest, request)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(found[0])
            return found
        finally:
            with self._lock:
                del side.asked[digest]

    def _ask(self, side: _Side, digest: str, request: dict[str, Any]) -> tuple[Answer, bool]:
        """Ask the server, unless another job has done so by now."""
        if self._stopping.is_set():
            raise StoppedError("the run has stopped")
        self._read_journals()
        if digest in side.answers:
            return side.answers[digest], True
        counts, answer = side.upstream.counts, None
        if counts:
            self._spending.reserve()
        try:
            answer = side.sender.send(request)
            self._record(side, digest, answer)
        finally:
            if counts:
                self._spending.settle(answer, side.upstream.price)
        return answer, False

    def _record(self, side: _Side, digest: str, answer: Answer) -> None:
        """Record an answer. Refusals wait for the first answer: a server that refuses everything is not set up right.

        Raises:
            UserError: the server refuses all of the first requests, or the disk is full.
        """
        with self._lock:
            waiting = [*(side.unsure or ()), (digest, answer)]
            if "refused" not in answer:
                side.unsure = None
                side.usage.answered += 1
                side.usage.add_tokens(answer, side.upstream.price)
            elif side.unsure is not None:
                side.unsure = waiting
                waiting = []
                if len(side.unsure) >= REFUSED_AT_FIRST:
                    raise UserError(
                        f"the {side.upstream.name}'s server refuses every request ({answer['refused']}): check the "
                        "model, its longest context and the settings of the benchmark"
                    )
        with named_full_disk(side.upstream.journal.folder or Path()):
            for recorded in waiting:
                side.upstream.journal.record(*recorded)
        with self._lock:
            side.answers[digest] = answer

    def _read_journals(self, *, wait: bool = False) -> None:
        """Add what other jobs have recorded, now and then."""
        if not self._reading.acquire(blocking=wait):
            return  # another thread is at it
        try:
            if time.monotonic() - self._read_at < READ_SECONDS:
                return
            self._spending.read_journals()
            for side in self._sides.values():
                for digest, answer in side.upstream.journal.unread():
                    if side.upstream.counts:
                        self._spending.add(answer, side.upstream.price)
                    with self._lock:
                        side.answers.setdefault(digest, answer)
            self._read_at = time.monotonic()
        finally:
            self._reading.release()

    def _fail(self, error: BaseException) -> None:
        """Send nothing on any more."""
        with self._lock:
            if self.failure is not None or isinstance(error, StoppedError):
                return
            self.failure = error
            self._stopping.set()
        if self._on_failure is not None:
            self._on_failure()


def _is_owed(side: _Side) -> bool:
    """Whether answers that count are on their way."""
    return side.upstream.counts and len(side.asked) > side.sender.connecting
