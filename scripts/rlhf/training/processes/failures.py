"""Which of several processes failed first, and why: the others fail because of it, with longer messages."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping

from torch.distributed.elastic.multiprocessing.errors import ProcessFailure, record

LOST_CONNECTION = re.compile(r"gloo/transport|^DistBackendError|^DistNetworkError|Connection (closed|reset) by peer")
"""Occurs in the error of a process whose peer is gone."""
STOPPED = (-signal.SIGTERM, -signal.SIGABRT)
"""Exit codes of processes that the launcher terminated, or that torch aborted because a peer was gone."""


def recorded(main: Callable[[], None]) -> Callable[[], None]:
    """A program that reports its exceptions to its launcher if it is one of several processes."""
    return record(main)


def root_cause(failures: Mapping[int, ProcessFailure]) -> str:
    """The failure that caused the others, as a sentence for the user.

    Args:
        failures: by rank.
    """
    rank, failure = min(failures.items(), key=lambda item: (_is_consequence(item[1]), item[1].timestamp))
    said = _said(failure)
    if failure.exitcode < 0 and not said:
        return (
            f"process {rank} of the training was killed ({failure.signal_name()}): by the kernel because the machine "
            "or the job ran out of memory, or by somebody. Run the same command again: it resumes from the last saved "
            "state"
        )
    said = said or f"it exited with status {failure.exitcode}; see its output above"
    return f"process {rank} of the training failed: {said.removeprefix('UserError: ')}"


def _is_consequence(failure: ProcessFailure) -> bool:
    """What a process recorded counts first: after its own exception it may still abort while it shuts down."""
    if said := _said(failure):
        return LOST_CONNECTION.search(said) is not None
    return failure.exitcode in STOPPED


def _said(failure: ProcessFailure) -> str:
    """The exception of a process, with its class; empty if it recorded none."""
    message: object = failure.message  # a dictionary where `record` wrote it
    return str(message["message"]) if isinstance(message, dict) else ""
