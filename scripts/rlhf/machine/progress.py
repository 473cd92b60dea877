"""Progress with rates: a bar on a terminal, regular lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LOG_INTERVAL_SECONDS = 10.0


class Progress:
    """Shows progress: a bar if standard error is a terminal, otherwise a line every `LOG_INTERVAL_SECONDS`.

    Use it as a context manager, and call `advance` after each piece of work.

    Args:
        total: units of work.
        unit: plural name of a unit.
        description: shown in front.
        shown: False in all but one of several processes that work together.
    """

    def __init__(self, total: int, unit: str, description: str, *, shown: bool = True) -> None:
        self.total, self.unit, self.description = total, unit, description
        self.done = self.tokens = 0
        self.facts: dict[str, str] = {}
        self._start = self._last_line = time.monotonic()
        self._shown = shown
        on_terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=f" {unit}", desc=description) if on_terminal else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif exception[0] is None:
            self._print_line()

    def expect(self, total: int) -> None:
        """The number of units of work, once it is known."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total
            self._bar.refresh()

    def advance(self, count: int = 1, tokens: int = 0, **facts: str) -> None:
        """Add work done since the last call: units, tokens if they matter, and facts to show beside the rate."""
        self.done += count
        self.tokens += tokens
        self.facts.update(facts)
        if self.tokens:
            rate = self.tokens / max(time.monotonic() - self._start, 1e-9)
            self.facts["tokens"] = f"{self.tokens} ({rate:.0f}/s)"
        if self._bar is not None:
            self._bar.set_postfix(self.facts, refresh=False)
            self._bar.update(count)
        elif self.done < self.total and time.monotonic() - self._last_line >= LOG_INTERVAL_SECONDS:
            self._print_line()

    def _print_line(self) -> None:
        if not self._shown:
            return
        self._last_line = time.monotonic()
        rate = self.done / max(self._last_line - self._start, 1e-9)
        shown = "".join(f", {name} {value}" for name, value in self.facts.items())
        line = f"{self.description}: {self.done} of {self.total} {self.unit}, {rate:.1f} {self.unit}/s{shown}"
        print(line, file=sys.stderr, flush=True)


def track(items: Iterable[Item], total: int, unit: str, description: str) -> Iterator[Item]:
    """Iterate over `items` with a `Progress`."""
    with Progress(total, unit, description) as progress:
        for item in items:
            yield item
            progress.advance()
