"""Folders that are written atomically, with their checksums and provenance."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlhf.base.files.checksums import seal_folder
from rlhf.base.files.temporary_files import remove, temporary_beside

PROVENANCE = "provenance.json"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` to write into; it takes its place when the block ends without an error.

    It gets `SHA256SUMS`, see `rlhf.base.files.checksums`.

    Raises:
        UserError: the disk filled up.
    """
    with temporary_beside(target) as temporary:
        temporary.mkdir()
        yield temporary
        seal_folder(temporary)
        if target.exists():
            remove_folder(target)
        temporary.replace(target)


def remove_folder(folder: Path) -> None:
    """Remove a folder under another name: half of it, left by a kill, is never taken for the whole."""
    renamed = folder.with_name(f".{folder.name.lstrip('.')}.removed")
    remove(renamed)  # of a removal that was killed
    folder.replace(renamed)
    remove(renamed)


def write_folder_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2, sort_keys=True) + "\n")


def folder_provenance(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its origin; None where it says nothing."""
    path = folder / PROVENANCE
    return json.loads(path.read_text()) if path.is_file() else None
