"""Progress with rates: a bar on a terminal, a line per interval in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LOG_INTERVAL_SECONDS = 10.0


class Progress:
    """Counts work done. A bar where standard error is a terminal; elsewhere a line every `LOG_INTERVAL_SECONDS`.

    Use as a context manager; `advance` takes what was done since the last call, in units and, where they matter, in
    tokens, and facts to show beside the rate. Of several processes that work together one is `shown`.
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

    def advance(self, count: int = 1, tokens: int = 0, **facts: str) -> None:
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
    """Iterate over `items` and show the progress."""
    with Progress(total, unit, description) as progress:
        for item in items:
            yield item
            progress.advance()
