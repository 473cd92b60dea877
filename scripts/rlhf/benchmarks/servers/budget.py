"""What the requests of the benchmark stage may cost, and what they have cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.files.journal import Answer

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Money for a million tokens, in any currency; one for all servers of an experiment."""

    input: float
    output: float


@dataclass(frozen=True)
class Budget:
    """Limits for all requests that count, of all runs together; None is no limit."""

    requests: int | None = None
    tokens: int | None = None
    """Input and output together."""
    money: float | None = None
    """In the currency of the prices."""


@dataclass
class Usage:
    """What was asked and answered."""

    answered: int = 0
    """Requests that the server answered."""
    refused: int = 0
    """Requests that the server refused, and refused ones that the journal remembers."""
    from_journal: int = 0
    """Requests that were answered without the server."""
    input_tokens: int = 0
    """Of the server's answers, as it counts them."""
    output_tokens: int = 0
    money: float = 0.0

    def add_tokens(self, answer: Answer, price: Price | None) -> None:
        """Add the tokens of an answer of the server, and their price."""
        tokens_in, tokens_out = tokens_of(answer) or (0, 0)
        self.input_tokens += tokens_in
        self.output_tokens += tokens_out
        if price is not None:
            self.money += (tokens_in * price.input + tokens_out * price.output) / MILLION


def tokens_of(answer: Answer) -> tuple[int, int] | None:
    """Input and output tokens of a completion; None if the server did not count them."""
    usage: Any = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return None
    return counts[0], counts[1]  # type: ignore[return-value]


class Spending:
    """Sums up what counts against a budget, and says when it is spent. Threads may use it at the same time."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._spent = Usage()
        self._in_flight = 0

    def add(self, answer: Answer, price: Price | None) -> None:
        """Count an answer, or a refusal, that was not reserved."""
        with self._lock:
            self._add(answer, price)

    def reserve(self) -> None:
        """Count a request in flight; `settle` must follow.

        Raises:
            UserError: a limit is reached.
        """
        with self._lock:
            if spent := self._spent_limit():
                raise UserError(
                    f"the budget of {spent} is spent ({self._in_words()}): what was answered is kept; raise "
                    "`benchmarks.budget` and run again"
                )
            self._in_flight += 1

    def settle(self, answer: Answer | None, price: Price | None) -> None:
        """A request in flight has ended: with an answer or a refusal, or with nothing.

        Raises:
            UserError: the answer does not say its tokens, and they are limited.
        """
        with self._lock:
            self._in_flight -= 1
            if answer is not None:
                self._add(answer, price)
        unknown = answer is not None and "refused" not in answer and tokens_of(answer) is None
        if unknown and (self._budget.tokens is not None or self._budget.money is not None):
            raise UserError(
                "a server does not count the tokens of its answers (`usage`), so a budget of tokens or money cannot be "
                "kept: limit the requests instead (`benchmarks.budget.requests`)"
            )

    def _add(self, answer: Answer, price: Price | None) -> None:
        self._spent.answered += 1
        self._spent.add_tokens(answer, price)

    def _spent_limit(self) -> str | None:
        """The limit that is reached, in words."""
        limits, spent = self._budget, self._spent
        if limits.requests is not None and spent.answered + self._in_flight >= limits.requests:
            return f"{limits.requests} requests"
        if limits.tokens is not None and spent.input_tokens + spent.output_tokens >= limits.tokens:
            return f"{limits.tokens} tokens"
        if limits.money is not None and spent.money >= limits.money:
            return f"{limits.money:g} in money"
        return None

    def _in_words(self) -> str:
        spent = self._spent
        flight = f" and {self._in_flight} not answered yet" if self._in_flight else ""
        tokens = f"{spent.input_tokens} input and {spent.output_tokens} output tokens"
        money = f", {spent.money:.2f} in money" if spent.money else ""
        return f"{spent.answered} requests{flight}, {tokens}{money}"
