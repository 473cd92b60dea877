"""Whether an interrupted benchmark knows every process that it has started."""

import os
import signal
import threading

import pytest

from measuring import signals_later


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_comes_later_whichever_thread_takes_it(number: signal.Signals) -> None:
    heard: list[str] = []
    before = signal.signal(number, lambda *_: heard.append("the signal"))
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        with signals_later():
            os.kill(os.getpid(), number)
            for _ in range(1000):  # handlers run between two steps of the main thread
                pass
            heard.append("known")
        assert heard == ["known", "the signal"]
    finally:
        ended.set()
        other.join()
        signal.signal(number, before)
