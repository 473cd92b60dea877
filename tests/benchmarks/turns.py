"""Runs another library's loop one step at a time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

Pause = Callable[[Any], None]


class Turns:
    """A computation in a thread of its own, which calls the given `pause` at the end of each step."""

    def __init__(self, compute: Callable[[Pause], object]) -> None:
        """Run up to the first pause, which ends the preparation."""
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(compute,), daemon=True).start()
        self._wait()

    def step(self) -> tuple[float, Any]:
        """Run up to the next pause; returns the seconds that it took, and the argument of `pause`."""
        start = time.perf_counter()
        self._turns.put(None)
        found = self._wait()
        return time.perf_counter() - start, found

    def _run(self, compute: Callable[[Pause], object]) -> None:
        try:
            compute(self._pause)
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that waits for the step
            self._found.put(error)

    def _pause(self, found: Any) -> None:
        self._found.put(found)
        self._turns.get()

    def _wait(self) -> Any:
        found = self._found.get()
        if isinstance(found, BaseException):
            raise found
        return found
