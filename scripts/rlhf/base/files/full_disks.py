"""Turns the many errors that libraries raise on a full disk or quota into one readable error."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlhf.base.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
TORCH_WRITER = "inline_container.cc"
"""On a failed write, torch's archive writer names this source file and no cause."""
PROBE_BYTES = 1 << 20
REMEDY = "Free some space on the disk or in the quota, and run the same command again."


@contextmanager
def named_full_disk(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Wrap code that writes to the file or folder `path`.

    Raises:
        UserError: instead of any error caused by a full disk or quota; it names the path and the disk.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = no_room(error)
        if cause is None and TORCH_WRITER in str(error):
            cause = _probe(path)
        if cause is None:
            raise
        raise UserError(f"{path}: cannot be written: {_in_words(cause, path)}. {remedy}") from error


def no_room(error: BaseException | None) -> int | None:
    """ENOSPC or EDQUOT, if an error or its cause has that number or text; otherwise None.

    Errors from Rust (safetensors, tokenizers) and torch have only the text.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return error.errno
        for number in NO_ROOM:
            if os.strerror(number) in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None


def _probe(path: Path) -> int | None:
    """Try to write a little beside `path`: ENOSPC or EDQUOT if it fails, None if it succeeds."""
    try:
        with tempfile.TemporaryFile(dir=_existing(path)) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return no_room(error)
    return None


def _in_words(number: int, path: Path) -> str:
    disk = _existing(path).resolve()
    while not os.path.ismount(disk):
        disk = disk.parent
    if number == errno.EDQUOT:
        return f"your quota on the disk {disk} is exhausted"
    status = os.statvfs(disk)
    if status.f_files and not status.f_favail:
        return f"the disk {disk} is full: it cannot hold more files (no free inodes)"
    free = status.f_bavail * status.f_frsize
    return f"the disk {disk} is full ({free / 1e6:,.1f} MB free, which is not enough)"


def _existing(path: Path) -> Path:
    """The closest existing folder at or above `path`."""
    path = path.absolute()
    return path if path.is_dir() else _existing(path.parent)
