"""The published folder: it is brought up to date file by file, and what is up to date is not touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from rlhf.base.files.checksums import SUMS
from rlhf.base.files.linking import link_or_copy
from rlhf.base.files.temporary_files import temporary_beside


class PublishedFolder:
    """A folder with links to results, and texts; at the end it holds nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wanted: set[Path] = set()

    def path(self, place: str) -> Path:
        """The path of a file that the caller writes by itself; it belongs to the folder from now on."""
        self._wanted.add(self._folder / place)
        return self._folder / place

    def link(self, source: Path, place: str) -> None:
        """A hard link to a result, or a copy with its time where the file system cannot link."""
        target = self.path(place)
        if not _is_same(source, target):
            with temporary_beside(target) as temporary:
                link_or_copy(source, temporary)
                if not temporary.samefile(source):
                    os.utime(temporary, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
                temporary.replace(target)

    def link_folder(self, source: Path, place: str, without: Collection[str] = ()) -> None:
        """Links to the files of a folder but some, and but hidden ones, which Snakemake leaves there."""
        for path in visible_files(source):
            name = path.relative_to(source).as_posix()
            if name not in without:
                self.link(path, f"{place}/{name}")

    def write(self, place: str, text: str) -> None:
        """A text of its own, never through a link."""
        target = self.path(place)
        if not target.is_file() or target.read_text() != text:
            with temporary_beside(target) as temporary:
                temporary.write_text(text)
                temporary.replace(target)

    def remove_others(self) -> None:
        """Remove what is not part of it, such as files of an earlier publication."""
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in self._wanted:
                path.unlink()


def visible_files(folder: Path) -> Iterator[Path]:
    """The files of a folder without hidden ones, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def changed_sums(folder: Path, texts: Mapping[str, str]) -> str:
    """The `SHA256SUMS` of a sealed folder, where some files are replaced by texts; nothing else is read again."""
    sums = {}
    for line in (folder / SUMS).read_text().splitlines():
        checksum, name = line.split("  ", 1)
        sums[name] = checksum
    sums |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _is_same(source: Path, target: Path) -> bool:
    """Whether one is a link to the other, or a copy of the same size and time."""
    if not target.is_file():
        return False
    one, other = source.stat(), target.stat()
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
