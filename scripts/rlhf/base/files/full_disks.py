"""Full disks and used-up quotas, whatever the libraries make of them, as one sentence."""

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
"""Torch's writer of archives names its source file where a write fails, and no cause."""
PROBE_BYTES = 1 << 20
REMEDY = "Make room on the disk or in the quota, and run the same line again."


@contextmanager
def named_full_disk(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Around what writes to `path`, or to a folder of that name.

    Raises:
        UserError: in place of any error that a full disk or quota has caused. It names the path and the disk.
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
    """ENOSPC or EDQUOT, if an error says so: by its number, by its text or by an error behind it.

    Those of Rust (safetensors, tokenizers) and of torch have only the text.
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
    """What a write of a little more beside `path` fails with: ENOSPC, EDQUOT, or None where it does not."""
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
        return f"your quota on the disk {disk} is used up"
    status = os.statvfs(disk)
    if status.f_files and not status.f_favail:
        return f"the disk {disk} is full: it can hold no more files"
    free = status.f_bavail * status.f_frsize
    return f"the disk {disk} is full ({free / 1e6:,.1f} MB are free, and more is needed)"


def _existing(path: Path) -> Path:
    """The first folder of a path, from its end, that is there."""
    path = path.absolute()
    return path if path.is_dir() else _existing(path.parent)
