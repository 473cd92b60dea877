"""Temporary files and folders beside what they become, named by the process that writes them.

A process that is killed leaves them behind. Their names tell whether it lives, so that the next job of the same target
removes them, or `make clean-temporary` does.
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

OWNED = re.compile(r"\.(?P<target>.+)@(?P<machine>.+)-(?P<process>\d+)-(?P<started>\d+)\.tmp")
TEMPORARY = re.compile(r"\..+\.(tmp|removed)")
"""These, and those that name no process: half-saved states of a training, and folders that are being removed."""
UNTOUCHED_SECONDS = 24 * 3600
"""After so long without a write, the process of another machine counts as dead."""


@dataclass(frozen=True)
class Leftover:
    """A temporary file or folder, and why it must stay."""

    path: Path
    size: int
    """Bytes of its files."""
    kept: str | None
    """None where its owner is dead."""


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A path beside `target` for a file or folder of this process, which the block moves to its place.

    What killed processes have left of the same target is removed before, and what is there at the end after.

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
    """Where this process may write what becomes `target`: in the same folder, so that a rename is atomic."""
    process = os.getpid()
    return target.with_name(f".{target.name}@{_machine()}-{process}-{_start_of(process)}.tmp")


def remove_leftovers(target: Path) -> None:
    """Remove what dead processes have left of `target`."""
    for path in target.parent.glob(".*.tmp"):
        found = OWNED.fullmatch(path.name)
        if found and found["target"] == target.name and _inspect(path).kept is None:
            remove(path)


def leftovers(folder: Path) -> Iterator[Leftover]:
    """All temporary files and folders below a folder, in the order of their paths; links are not followed."""
    for parent, folders, files in os.walk(folder):
        found = sorted(name for name in [*folders, *files] if TEMPORARY.fullmatch(name))
        folders[:] = sorted(set(folders) - set(found))
        yield from (_inspect(Path(parent, name)) for name in found)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    while os.path.lexists(path):
        with suppress(FileNotFoundError):  # another process removes it too
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _inspect(path: Path) -> Leftover:
    size, touched = 0, 0.0
    for each in [path, *path.rglob("*")]:
        with suppress(FileNotFoundError):  # its owner lives, and works
            status = each.lstat()
            size += 0 if each.is_dir() else status.st_size
            touched = max(touched, status.st_mtime)
    return Leftover(path, size, _why_kept(path.name, time.time() - touched))


def _why_kept(name: str, untouched: float) -> str | None:
    """Why a temporary file that nobody has written to for some seconds must stay; None where its owner is dead."""
    found = OWNED.fullmatch(name)
    if found and found["machine"] == _machine():
        process = int(found["process"])
        return f"process {process} lives, and writes it" if _start_of(process) == int(found["started"]) else None
    if untouched > UNTOUCHED_SECONDS:
        return None
    owner = f"process {found['process']} on {found['machine'].rpartition('-')[0]}" if found else "its owner"
    return f"{owner} may live: it was written to in the last {UNTOUCHED_SECONDS // 3600} hours"


@cache
def _machine() -> str:
    """Host, and the space in which process numbers count there: each container has one of its own."""
    return f"{socket.gethostname()}-{Path('/proc/self/ns/pid').stat().st_ino}"


def _start_of(process: int) -> int | None:
    """When a process of this machine started, in clock ticks since the machine did; None where it is dead.

    Numbers of processes are given again, but not with the same start.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(fields[18])
