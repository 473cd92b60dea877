"""Snakemake's locks of the files of a run, so that several experiments can run in one folder at the same time.

Snakemake lets runs with different files run at once, but when one ends it removes the locks of all, and two that start
at the same moment can both pass, or overwrite each other's locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from snakemake.exceptions import LockException
from snakemake.persistence.file import FilePersistence


class RunLocks(FilePersistence):
    """Locks of one run, which it alone removes; `--unlock` removes those of all runs."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the files of this run.

        Raises:
            LockException: another run has locked some of them; or it starts at the same moment.
        """
        with super().lock():
            if self.locked:  # by a run that looked before this one had written its locks
                raise LockException
            yield

    def cleanup_locks(self) -> None:
        super()._delete_locks()

    def _read_locks(self) -> Iterator[tuple[str, str]]:
        """Kind and path of each locked file, without this run's own."""
        for kind in ("input", "output"):
            for path in Path(self._lockdir).glob(f"*.{kind}.lock"):
                if str(path) not in self._lockfile.values():
                    with suppress(FileNotFoundError):  # that run has just ended
                        yield from ((kind, line) for line in path.read_text().splitlines())

    def _write_locks(self, lock_type: str, keys: Iterable[str]) -> None:
        text = "".join(f"{key}\n" for key in keys)
        Path(self._lockdir).mkdir(exist_ok=True)
        for number in count() if text else ():
            path = Path(self._lockdir, f"{number}.{lock_type}.lock")
            with suppress(FileExistsError), path.open("x") as file:
                file.write(text)
                self._lockfile[lock_type] = str(path)
                return

    def _delete_locks(self) -> None:
        for path in self._lockfile.values():
            Path(path).unlink(missing_ok=True)
        self._lockfile.clear()
