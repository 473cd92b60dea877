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
    """Write a folder atomically: yields a temporary folder beside `target`, which replaces it if the block succeeds.

    It is sealed with `SHA256SUMS`, see `rlhf.base.files.checksums`.

    Raises:
        UserError: the disk is full.
    """
    with temporary_beside(target) as temporary:
        temporary.mkdir()
        yield temporary
        seal_folder(temporary)
        if target.exists():
            remove_folder(target)
        temporary.replace(target)


def remove_folder(folder: Path) -> None:
    """Rename a folder, then remove it: if killed halfway, the remains are never mistaken for a complete folder."""
    renamed = folder.with_name(f".{folder.name.lstrip('.')}.removed")
    remove(renamed)  # left by a removal that was killed
    folder.replace(renamed)
    remove(renamed)


def write_folder_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write `provenance.json`."""
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2, sort_keys=True) + "\n")


def folder_provenance(folder: Path) -> dict[str, Any] | None:
    """The provenance in a folder's `provenance.json`; None if there is none."""
    path = folder / PROVENANCE
    return json.loads(path.read_text()) if path.is_file() else None
