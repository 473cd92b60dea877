"""Checksums inside files and folders, so that a result damaged after it was written is never used.

To *seal* is to add the checksum. A Parquet artifact holds the SHA-256 of its own bytes in its footer, computed with
zeros in place of the checksum. A folder holds `SHA256SUMS`, which `sha256sum --check` can read too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from rlhf.base.errors import UserError

KEY = b"rlhf_sha256"
"""Key of the checksum in a Parquet file's metadata."""
ZEROS = b"0" * 64
SUMS = "SHA256SUMS"
SHARD_INDEX = ".metadata"
"""Torch's index of a sharded state: a hidden file, but part of the state."""
CHECKSUM_IN_FOOTER = re.compile(re.escape(KEY) + rb".{1,4}?([0-9a-f]{64})", re.DOTALL)
"""The key and its checksum in the bytes of a footer: Thrift writes strings verbatim, with a few bytes in between."""
FOOTER_END = 8
"""Bytes after the footer: its length (4), and the magic number `PAR1`."""
BLOCK_BYTES = 1 << 20
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class DamagedError(UserError):
    """A file that changed since it was written."""


def seal_file(path: Path) -> None:
    """Replace `ZEROS`, which a Parquet file's metadata holds under `KEY`, by the checksum."""
    with path.open("r+b") as file:
        start = _find_checksum(file.fileno())[0]
        checksum = _file_checksum(path, start)
        file.seek(start)
        file.write(checksum.encode())


def seal_folder(folder: Path) -> None:
    """Write `SHA256SUMS` of a folder's files, sorted by name."""
    names = _names(folder)
    lines = [f"{checksum}  {name}\n" for checksum, name in zip(_checksums(folder, names), names, strict=True)]
    (folder / SUMS).write_text("".join(lines))


def stated_checksum(path: Path) -> str | None:
    """The checksum recorded in a Parquet file or folder, without verifying it; None if there is none."""
    if path.is_dir():
        return _checksum(path / SUMS) if (path / SUMS).is_file() else None
    if path.suffix != ".parquet" or not path.is_file():
        return None
    with path.open("rb") as file:
        return _find_checksum(file.fileno())[1]


def verify(path: Path) -> None:
    """Verify a sealed Parquet file or folder, once per process unless it is modified.

    Raises:
        DamagedError: it changed since it was written; for a folder, the message names the file.
    """
    if path.is_dir():
        files = tuple((name, *_stamp(path / name)) for name in [SUMS, *_names(path)])
        _verify_folder(path, files)
    else:
        _verify_file(path, *_stamp(path))


def verify_if_sealed(path: Path) -> None:
    """Verify a file or folder that has a checksum; a user's own models and datasets have none."""
    if stated_checksum(path) is not None:
        verify(path)


@cache
def _verify_file(path: Path, *stamp: int) -> None:
    with path.open("rb") as file:
        start, stated = _find_checksum(file.fileno())
    if stated is None or stated != _file_checksum(path, start):
        raise DamagedError(
            f"{path}: this file is not as the pipeline wrote it: it is damaged, or something else wrote to it. Delete "
            "it and run the pipeline again."
        )


def damaged_file(folder: Path) -> str | None:
    """The first file of a sealed folder that was changed, added or removed; None if there is none."""
    stated = {}
    for line in (folder / SUMS).read_text(errors="replace").splitlines():
        found = LINE.fullmatch(line)
        if found is None:
            return SUMS
        stated[found[2]] = found[1]
    names = _names(folder)
    for name in sorted(stated.keys() ^ set(names)):
        return name
    checksums = zip(_checksums(folder, names), names, strict=True)
    return next((name for checksum, name in checksums if checksum != stated[name]), None)


@cache
def _verify_folder(folder: Path, files: tuple[tuple[str | int, ...], ...]) -> None:
    name = damaged_file(folder)
    if name is not None:
        raise _damaged(folder, name)


def _damaged(folder: Path, name: str) -> DamagedError:
    return DamagedError(
        f"{folder}: `{name}` does not match `{SUMS}` in this folder: it was damaged, added, removed or edited. Delete "
        f"the folder and run the pipeline again. (To use it as a model of your own, delete `{SUMS}`.)"
    )


def _find_checksum(descriptor: int) -> tuple[int, str | None]:
    """(offset, checksum) of the checksum in a Parquet file; (0, None) if there is none."""
    size = os.fstat(descriptor).st_size
    if size < FOOTER_END:
        return 0, None
    footer = int.from_bytes(os.pread(descriptor, 4, size - FOOTER_END), "little") + FOOTER_END
    tail = os.pread(descriptor, footer, max(0, size - footer))
    *_, found = None, *CHECKSUM_IN_FOOTER.finditer(tail)
    return (0, None) if found is None else (size - len(tail) + found.start(1), found[1].decode())


def _file_checksum(path: Path, start: int) -> str:
    """SHA-256 of a file, reading zeros in place of the checksum at offset `start`."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        left = start
        while left:
            block = file.read(min(BLOCK_BYTES, left))
            sha.update(block)
            left -= len(block)
        file.seek(len(ZEROS), os.SEEK_CUR)
        sha.update(ZEROS)
        while block := file.read(BLOCK_BYTES):
            sha.update(block)
    return sha.hexdigest()


def _checksums(folder: Path, names: Sequence[str]) -> list[str]:
    """SHA-256 of several files in parallel: a large training state has a file for each process."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(lambda name: _checksum(folder / name), names))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: Path) -> list[str]:
    """Sorted names of a folder's files, without hidden ones, which Snakemake and other tools leave behind."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in found if name.name != SUMS and not _is_hidden(name))


def _is_hidden(name: Path) -> bool:
    return any(part[0] == "." for part in name.parts if part != SHARD_INDEX)


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """Size, times and inode: they change on every write, even if the modification time is set back."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
