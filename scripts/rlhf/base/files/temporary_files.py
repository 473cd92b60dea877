"""Temporary files and folders beside their targets, with the writing process in their names.

A killed process leaves them behind. Their names tell whether the process is still alive, so that the next job with the
same target, or `make clean-temporary`, can remove them.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlhf.base.files.full_disks import named_full_disk

PROCESS = re.compile(r"(?P<machine>.+)-(?P<process>\d+)-(?P<started>\d+)")
"""What `process_name` gives."""
OWNED = re.compile(rf"\.(?P<target>.+)@(?P<owner>{PROCESS.pattern})\.tmp")
TEMPORARY = re.compile(r"\..+\.(tmp|removed)")
"""The above, and those without a process: half-saved training states, and folders being removed."""
UNTOUCHED_SECONDS = 24 * 3600
"""After this long without a write, a process on another machine counts as dead."""


@dataclass(frozen=True)
class Leftover:
    """A temporary file or folder, and whether it may be removed."""

    path: Path
    size: int
    """Total bytes of its files."""
    kept: str | None
    """Why it must stay; None if its owner is dead."""


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, which the block writes and then renames to `target`.

    Leftovers of killed processes for the same target are removed before the block, and the block's own after it.

    Raises:
        UserError: the disk filled up within the block.
    """
    temporary = temporary_path(target)
    try:
        with named_full_disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            yield temporary
    finally:
        remove(temporary)


def temporary_path(target: Path) -> Path:
    """This process's temporary path for `target`: in the same folder, so that the rename is atomic."""
    return target.with_name(f".{target.name}@{process_name()}.tmp")


def process_name() -> str:
    """The name of this process, which no other process on any machine has."""
    process = os.getpid()
    return f"{_machine()}-{process}-{_start_of(process)}"


def has_ended(process: str) -> bool | None:
    """Whether the process of this name has ended; None if that cannot be told: it is on another machine, or hidden."""
    found = PROCESS.fullmatch(process)
    if found is None or found["machine"] != _machine():
        return None
    number = int(found["process"])
    started = _start_of(number)
    return None if started is None and _is_hidden(number) else started != int(found["started"])


def shown_process(process: str) -> str:
    """The process of this name, in words."""
    found = PROCESS.fullmatch(process)
    return f"process {found['process']} on {found['machine'].rpartition('-')[0]}" if found else "a process"


def remove_leftovers(target: Path) -> None:
    """Remove what dead processes left behind for `target`."""
    for path in target.parent.glob(".*.tmp"):
        found = OWNED.fullmatch(path.name)
        if found and found["target"] == target.name and _inspect(path).kept is None:
            remove(path)


def leftovers(folder: Path) -> Iterator[Leftover]:
    """All temporary files and folders below a folder, folder by folder, sorted by name; links are not followed."""
    for parent, folders, files in os.walk(folder):
        found = sorted(name for name in [*folders, *files] if TEMPORARY.fullmatch(name))
        folders[:] = sorted(set(folders) - set(found))
        yield from (_inspect(Path(parent, name)) for name in found)


def remove(path: Path) -> None:
    """Remove a file or folder if it exists."""
    while os.path.lexists(path):
        with suppress(FileNotFoundError):  # another process is removing it too
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _inspect(path: Path) -> Leftover:
    size, touched = 0, 0.0
    for each in [path, *path.rglob("*")]:
        with suppress(FileNotFoundError):  # its owner is alive and working on it
            status = each.lstat()
            size += 0 if each.is_dir() else status.st_size
            touched = max(touched, status.st_mtime)
    return Leftover(path, size, _why_kept(path.name, time.time() - touched))


def _why_kept(name: str, untouched: float) -> str | None:
    """Why a temporary file, last written `untouched` seconds ago, must stay; None if its owner is dead."""
    found = OWNED.fullmatch(name)
    ended = has_ended(found["owner"]) if found else None
    if found and ended is not None:
        return None if ended else f"process {found['process']} is alive and writing it"
    if untouched > UNTOUCHED_SECONDS:
        return None
    owner = shown_process(found["owner"]) if found else "its owner"
    return f"{owner} may be alive: it was written to in the last {UNTOUCHED_SECONDS // 3600} hours"


@cache
def _machine() -> str:
    """Host name and PID namespace: each container has its own process numbers."""
    return f"{socket.gethostname()}-{Path('/proc/self/ns/pid').stat().st_ino}"


def _start_of(process: int) -> int | None:
    """When a process on this machine started, in clock ticks since boot; None if it is dead.

    Process numbers are reused, but not with the same start time.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(fields[18])


def _is_hidden(process: int) -> bool:
    """Whether there is such a process of another user, which /proc may not show (its mount option `hidepid`)."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False
