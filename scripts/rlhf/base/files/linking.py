"""Files at a second place: as hard links where the file system can, else as copies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

COPIED_AT_ONCE = 1 << 30


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make `target` a hard link to a file, or a copy of it where the file system cannot link.

    A link takes no space, and no program writes into a finished result. `source` may be a symbolic link, as in the
    hub's cache: the file behind it is linked.
    """
    try:
        os.link(Path(source).resolve(), target)
    except OSError:  # another file system, or one without links
        copy(source, target)


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file; where the file system can, both share their blocks until one is written to."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), COPIED_AT_ONCE):
                pass
        except OSError:  # the two are on file systems between which it does not work
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer)
