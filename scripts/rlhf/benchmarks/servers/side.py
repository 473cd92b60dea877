"""One side of the relay: an upstream, what it has answered, and what was used of that."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import named_full_disk
from rlhf.base.files.journal import Answer, request_digest
from rlhf.benchmarks.servers.budget import Spending, Usage
from rlhf.benchmarks.servers.upstream import Sender, Upstream

REFUSED_AT_FIRST = 32
"""Refused requests after which a server that has answered none is given up."""


@dataclass(frozen=True)
class Exchange:
    """A request and what came back."""

    digest: str
    request: dict[str, Any]
    """As it was sent on."""
    answer: Answer
    """The completion, or `{"refused": status}`."""


class Side:
    """An upstream in use. Threads may use it at the same time.

    Args:
        spending: counts its answers, if the upstream counts.
        stopping: once it is set, nothing is asked again.
    """

    def __init__(self, upstream: Upstream, spending: Spending, stopping: threading.Event) -> None:
        self.upstream, self._spending = upstream, spending
        self.sender = Sender(upstream, stopping)
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._asked: dict[str, Future[Answer]] = {}
        self._unsure: list[tuple[str, Answer]] | None = []
        """Refusals before the server's first answer in this run; then None."""
        self._used: dict[str, dict[str, Any]] = {}
        self._usage = Usage()

    def digest(self, request: dict[str, Any]) -> str:
        """Of a request with the upstream's model. Raises ValueError if it has no JSON that is valid."""
        return request_digest({"identity": self.upstream.identity, "request": request})

    def find(self, digest: str) -> Answer | None:
        """The answer that is recorded."""
        with self._lock:
            return self._answers.get(digest)

    def claim(self, digest: str) -> tuple[Future[Answer], bool]:
        """What will hold the answer, and whether the caller has to get it, and call `settle` in any case."""
        with self._lock:
            if digest in self._answers:
                found: Future[Answer] = Future()
                found.set_result(self._answers[digest])
                return found, False
            if digest in self._asked:
                return self._asked[digest], False
            return self._asked.setdefault(digest, Future()), True

    def settle(self, digest: str, outcome: Answer | BaseException) -> None:
        """Give those who wait the answer, or the error."""
        with self._lock:
            future = self._asked.pop(digest)
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def ask(self, digest: str, request: dict[str, Any]) -> Answer:
        """Ask the server and record its answer.

        Raises:
            UserError: see `Sender.send`, `Spending.reserve`, `Spending.settle` and `_record`.
        """
        answer = None
        if self.upstream.counts:
            self._spending.reserve()
        try:
            answer = self.sender.send(request)
            self._record(digest, answer)
        finally:
            if self.upstream.counts:
                self._spending.settle(answer, self.upstream.price)
        return answer

    def use(self, digest: str, request: dict[str, Any], answer: Answer, *, from_journal: bool) -> Usage:
        """Note that the library gets this answer; the usage so far."""
        with self._lock:
            self._used[digest] = request
            self._usage.from_journal += from_journal and "refused" not in answer
            self._usage.refused += "refused" in answer
            return replace(self._usage)

    @property
    def usage(self) -> Usage:
        """What this run has used."""
        with self._lock:
            return replace(self._usage)

    def exchanges(self) -> list[Exchange]:
        """What the library has used, by digest."""
        with self._lock:
            return [Exchange(digest, self._used[digest], self._answers[digest]) for digest in sorted(self._used)]

    def read_journal(self) -> None:
        """Add what others have recorded. Not for several threads at the same time."""
        for digest, answer in self.upstream.journal.unread():
            if self.upstream.counts:
                self._spending.add(answer, self.upstream.price)
            with self._lock:
                self._answers.setdefault(digest, answer)

    def is_owed(self) -> bool:
        """Whether answers that count are on their way."""
        return self.upstream.counts and len(self._asked) > self.sender.connecting

    def _record(self, digest: str, answer: Answer) -> None:
        """Record an answer. Refusals wait for the first answer: a server that refuses everything is not set up right.

        Raises:
            UserError: the server refuses all of the first requests, or the disk is full.
        """
        with self._lock:
            waiting = [*(self._unsure or ()), (digest, answer)]
            if "refused" not in answer:
                self._unsure = None
                self._usage.answered += 1
                self._usage.add_tokens(answer, self.upstream.price)
            elif self._unsure is not None:
                self._unsure, waiting = waiting, []
                if len(self._unsure) >= REFUSED_AT_FIRST:
                    raise UserError(
                        f"the {self.upstream.name}'s server refuses every request ({answer['refused']}): check its "
                        "model, the longest context and the settings of the benchmark"
                    )
        with named_full_disk(self.upstream.journal.folder or Path()):
            for recorded in waiting:
                self.upstream.journal.record(*recorded)
        with self._lock:
            self._answers.setdefault(digest, answer)
