"""Which of several processes failed by itself, and why: the others fail because of it, and say so at greater length."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping

from torch.distributed.elastic.multiprocessing.errors import ProcessFailure, record

LOST_CONNECTION = re.compile(r"gloo/transport|^DistBackendError|^DistNetworkError|Connection (closed|reset) by peer")
"""In the error of a process whose peer is gone."""
STOPPED = (-signal.SIGTERM, -signal.SIGABRT)
"""Exit codes of processes that the launcher asked to end, or that torch aborts when a peer is gone."""


def recorded(main: Callable[[], None]) -> Callable[[], None]:
    """A program whose exceptions its launcher knows, where it is one of several processes."""
    return record(main)


def root_cause(failures: Mapping[int, ProcessFailure]) -> str:
    """The failure that the others came from, as a sentence for the user.

    Args:
        failures: by rank.
    """
    rank, failure = min(failures.items(), key=lambda item: (_is_consequence(item[1]), item[1].timestamp))
    if failure.exitcode < 0:
        return (
            f"process {rank} of the training was killed ({failure.signal_name()}): by the kernel where the memory of "
            "the machine or of the job ran out, or by somebody. Run the same command again: it goes on from the last "
            "saved state"
        )
    said = _said(failure) or f"it ended with status {failure.exitcode}; see what it wrote above"
    return f"process {rank} of the training failed: {said.removeprefix('UserError: ')}"


def _is_consequence(failure: ProcessFailure) -> bool:
    return failure.exitcode in STOPPED or LOST_CONNECTION.search(_said(failure)) is not None


def _said(failure: ProcessFailure) -> str:
    """The exception of a process, with its class; nothing where it recorded none."""
    message: object = failure.message  # a dictionary where `record` wrote it
    return str(message["message"]) if isinstance(message, dict) else ""
