"""A result of another experiment, put in its place in this one: as a hard link where that can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rlhf.base.files.checksums import verify
from rlhf.base.files.folders import remove_folder
from rlhf.base.files.linking import copy, link_or_copy
from rlhf.base.files.temporary_files import temporary_beside


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
            shutil.copytree(source, temporary, copy_function=copy if older else link_or_copy, ignore=_hidden)
            if older:
                os.utime(temporary)
            if target.exists():
                remove_folder(target)
        else:
            (copy if older else link_or_copy)(source, temporary)
        temporary.replace(target)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def _hidden(_: str, names: list[str]) -> list[str]:
    """Snakemake's own time stamp of a folder, which says when that experiment made it."""
    return [name for name in names if name.startswith(".")]
