"""Grades of responses, given by several processes; a response can take neither the time nor the memory of all."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple, NoReturn

from rlhf.base.errors import UserError
from rlhf.rewards.schema import NO_REWARD
from rlhf.rewards.scorer import Conversation, Score, ScoringJob

SECONDS = 5.0
"""Time for one response, a thousand times what an ordinary one takes: what needs more is an attack or runaway text."""
MEMORY_BYTES = 2 * 1024**3
"""Memory of a process, which imports some 200 MB."""
TOO_MUCH = "took_too_much"
"""Outcome of a response that needs more time or memory: it is not right."""
AT_A_TIME = 16
"""Responses handed to a process at once."""


class Grade(NamedTuple):
    """The grade of a response."""

    value: float | None
    """In [0, 1]; None where there is nothing to check it against."""
    outcome: str
    """What was found, such as `correct`; outcomes are counted."""


Grader = Callable[[Conversation], Grade]


class _TooMuch(BaseException):
    """Time is up; no `Exception`, so that no library catches it."""


def grade(
    grader: Grader, conversations: Sequence[Conversation], job: ScoringJob, libraries: Sequence[str] = ()
) -> tuple[list[Score], dict[str, Any]]:
    """Grade conversations, each distinct one once.

    Args:
        grader: a function that another process can import, or a `partial` of one.
        job: its threads are the number of processes.
        libraries: packages that `grader` uses.

    Returns:
        One score per conversation, in order; as facts the counts of their outcomes, `grading`, and the versions of
        `libraries`.

    Raises:
        UserError: as `grader` does, or a process was killed.
    """
    distinct = list(dict.fromkeys(conversations))
    found: dict[Conversation, Grade] = {}
    spawn = multiprocessing.get_context("spawn")  # forks of a process with threads, such as pyarrow's, may hang
    with ProcessPoolExecutor(max(1, job.threads), spawn, _limit_process) as processes:
        try:
            for conversation, one in zip(
                distinct, processes.map(partial(within_limits, grader), distinct, chunksize=AT_A_TIME), strict=True
            ):
                found[conversation] = one
                job.progress.advance()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that checks responses was killed, as happens where memory is short: raise `mem_mb` or lower "
                "`threads` of this rule in `hardware`"
            ) from error
    grades = [found[conversation] for conversation in conversations]
    outcomes = Counter(one.outcome for one in grades)
    scores = [Score(None, NO_REWARD) if one.value is None else Score(one.value) for one in grades]
    versions = {name: version(name) for name in libraries}
    return scores, {"grading": dict(sorted(outcomes.items())), "libraries": versions}


def within_limits(grader: Grader, conversation: Conversation) -> Grade:
    """The grade of a conversation; 0 if that takes more than `SECONDS`, or more memory than the process has."""
    before = signal.signal(signal.SIGALRM, _stop)
    try:
        try:
            # Again and again: a first signal may be lost in a destructor, where Python drops exceptions.
            signal.setitimer(signal.ITIMER_REAL, SECONDS, 1.0)
            return grader(conversation)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    except (_TooMuch, MemoryError):
        return Grade(0.0, TOO_MUCH)


def _stop(*_: object) -> NoReturn:
    raise _TooMuch


def _limit_process() -> None:
    """Limit this process's memory, and end it when the program that started it ends, however that happens."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
