"""A result of another experiment, put in its place in this one: as a hard link where that can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rlhf.base.files.checksums import verify
from rlhf.base.files.folders import remove_folder
from rlhf.base.files.temporary_files import temporary_beside

COPIED_AT_ONCE = 1 << 30


def take(source: Path, target: Path, made_from: Iterable[Path]) -> None:
    """Replace `target` with another experiment's file or folder, atomically, once its checksums are verified.

    It is linked, so it needs no space; no program writes into a finished result. Where the file system cannot link, it
    is copied. A result that is older than what it was made from would count as stale, so that one is copied, too: to
    change the time of a link would change it for its owner.

    Args:
        made_from: its input files in this experiment.

    Raises:
        DamagedError: it is not as it was written.
        UserError: the disk is full.
    """
    verify(source)
    older = any(path.exists() and _modified(path) > _modified(source) for path in made_from)
    with temporary_beside(target) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary, copy_function=_copy if older else _link, ignore=_hidden)
            if older:
                os.utime(temporary)
            if target.exists():
                remove_folder(target)
        else:
            (_copy if older else _link)(source, temporary)
        temporary.replace(target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        _copy(source, target)


def _copy(source: str | Path, target: str | Path) -> None:
    """Copy a file; where the file system can, both share their blocks until one is written to."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), COPIED_AT_ONCE):
                pass
        except OSError:  # the two are on file systems between which it does not work
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def _hidden(_: str, names: list[str]) -> list[str]:
    """Snakemake's own time stamp of a folder, which says when that experiment made it."""
    return [name for name in names if name.startswith(".")]
