"""Runs a command, and ends it with all its descendants when standard input closes: when the owner dies, however.

    python watchdog.py SECONDS COMMAND ...

They get SIGTERM, and SIGKILL after SECONDS. The exit status is the command's, as shells give it. Needs Linux, and
imports nothing of this project, so that it starts at once.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36
"""Options of prctl, as linux/prctl.h numbers them: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER."""
LOOK_SECONDS = 0.1
LIBC = ctypes.CDLL(None)


def main(seconds: float, command: list[str]) -> int:
    """Run the command until it ends or standard input closes; its exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _go_on)
    LIBC.prctl(CHILD_SUBREAPER, 1)  # orphans of the command become children of this process
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    while child.poll() is None and not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        pass
    deadline = time.monotonic() + seconds
    if child.poll() is None:
        child.terminate()  # not its whole group: the command ends its own children first
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        child.kill()
    status = child.wait()
    _end_orphans(max(deadline, time.monotonic() + LOOK_SECONDS))
    return 128 - status if status < 0 else status


def _end_orphans(deadline: float) -> None:
    """End what the command has left: with SIGTERM until the deadline, and then with SIGKILL."""
    asked: set[int] = set()
    while orphans := _children():
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for orphan in orphans:
            if number == signal.SIGKILL or orphan not in asked:
                os.kill(orphan, number)
            asked.add(orphan)
            os.waitpid(orphan, 0 if number == signal.SIGKILL else os.WNOHANG)
        time.sleep(LOOK_SECONDS)


def _go_on(*_: object) -> None:
    """For signals that a scheduler sends to all processes of a job: the owner decides when this one ends."""


def _die_with_parent() -> None:
    LIBC.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _children() -> list[int]:
    """Process IDs of the children of this process."""
    own = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if parent == own:
            found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
