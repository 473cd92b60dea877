"""Graders that other processes import: ordinary ones, and such as take too much."""

import contextlib
import os
import signal
import time
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.grading import Grade


def by_length(most: int, conversation: Conversation) -> Grade:
    """The response's length as a share of `most`; an empty response cannot be graded."""
    if not conversation.response:
        return Grade(None, "empty")
    return Grade(len(conversation.response) / most, "long" if len(conversation.response) > most / 2 else "short")


def endless(conversation: Conversation) -> Grade:
    """Never ends for the response `endless`; catches what it can, as libraries do."""
    while conversation.response == "endless":
        with contextlib.suppress(Exception):
            sum(range(1000))
    return Grade(1.0, "ended")


def greedy(conversation: Conversation) -> Grade:
    """Takes 8 GB for the response `greedy`."""
    return Grade(float(len(bytearray(8 * 1024**3 if conversation.response == "greedy" else 1)) > 0), "ended")


def refusing(conversation: Conversation) -> Grade:
    raise UserError(f"no grade for {conversation.response!r}")


def deadly(conversation: Conversation) -> Grade:
    os.kill(os.getpid(), signal.SIGKILL)
    return Grade(1.0, "survived")


def patient(folder: str, conversation: Conversation) -> Grade:
    """Leaves its process's number in a folder, and waits."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)
    return Grade(1.0, "waited")
