"""Claims on results that are being computed, so that of several runs that need the same one, one computes it.

A claim is a file that exactly one run can create, named by a digest of what makes the result; it says whose it is. As
long as the run lives, it renews the time of the file. A claim is over when its run removes it, when its process is
known to be dead, or when the time of the file has stood still for `STALE_SECONDS`.

This rests on two things that NFS promises as well as a local disk: that a file is created exclusively (O_EXCL), and
that opening a file shows its present time. File locks are not used, and no clocks compared: the waiting run measures
with its own for how long a time has stood still. (filelock's leases, which trainings use for their saved states, never
take over from a dead machine on NFS, which cannot exchange two names, and cannot say which experiment holds one.) A
claim that is lost costs a computation and no result, since every experiment writes into a folder of its own.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from snakemake.logging import logger

from rlhf.base.files.temporary_files import has_ended, process_name, shown_process, temporary_path

CLAIMS = ".claims"
"""The folder of the claims, beside the folders of the experiments."""
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
"""Longer than a file system may show an old time of a file (60 seconds on NFS), and several heartbeats."""


@dataclass(frozen=True)
class Holder:
    """Who computes a result."""

    results: str
    """The folder of the experiment, without links."""
    process: str

    def __str__(self) -> str:
        if not self.results:
            return "another run"
        folder = Path(self.results)
        shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        return f"{shown} ({shown_process(self.process)})"


UNKNOWN = Holder("", "")
"""Of a claim that says nothing: it is being written, or a full disk cut it short."""


class Claims:
    """What a run has claimed, and what it has seen of the claims of others.

    Args:
        results: the folder of the experiment.
        concerns: whether to wait for the experiment with this folder; others may compute the same at the same time.
    """

    def __init__(self, results: Path, concerns: Callable[[Path], bool]) -> None:
        self._record = json.dumps(asdict(Holder(str(results.resolve()), process_name()))) + "\n"
        self._concerns = concerns
        self._held: dict[Path, int] = {}
        """Claim -> its open file, which stays this run's own even if another run takes the name over."""
        self._watched: dict[Path, tuple[tuple[int, int], float]] = {}
        """Claim of another run -> its file and time, and since when they are so by this machine's clock."""
        self._unusable: set[Path] = set()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._heartbeat: threading.Thread | None = None

    def acquire(self, identity: str, stores: Iterable[Path]) -> Holder | None:
        """Claim a result in all of these folders, or in none.

        A folder in which this run cannot create a file is left out, with a warning: there, nobody knows of this run.

        Args:
            identity: a digest of what makes the result.

        Returns:
            None if it is claimed, else who has it.
        """
        for store in stores:
            try:
                holder = self._acquire(store / CLAIMS / identity)
            except OSError as error:
                self._warn(store, error)
                continue
            if holder is not None and (holder == UNKNOWN or self._concerns(Path(holder.results))):
                self.release(identity)
                return holder
        return None

    def release(self, identity: str) -> None:
        """Give a result up, computed or not."""
        for path in [path for path in self._held if path.name == identity]:
            with self._lock:
                descriptor = self._held.pop(path)
            with suppress(OSError):  # a claim that cannot be removed ends by itself
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    path.unlink()
            os.close(descriptor)
            with suppress(OSError):  # others have claims there
                path.parent.rmdir()

    def close(self) -> None:
        """Give all results up, and end the heartbeat."""
        self._end.set()
        for identity in {path.name for path in self._held}:
            self.release(identity)

    def _acquire(self, path: Path) -> Holder | None:
        if path in self._held:
            return None
        while True:
            try:
                descriptor = _create(path, self._record)
            except FileExistsError:
                holder = self._holder(path)
                if holder is not None:
                    return holder
            else:
                break
        with self._lock:
            self._held[path] = descriptor
        if self._heartbeat is None:
            self._heartbeat = threading.Thread(target=self._renew, name="claims", daemon=True)
            self._heartbeat.start()
        return None

    def _holder(self, path: Path) -> Holder | None:
        """Who has a claim; None if nobody has it any more."""
        try:
            with path.open() as file:
                status, text = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        holder, stamp, now = _parse(text), (status.st_ino, status.st_mtime_ns), time.monotonic()
        if self._watched.get(path, (None, 0))[0] != stamp:
            self._watched[path] = stamp, now
        if has_ended(holder.process) or now - self._watched[path][1] > STALE_SECONDS:
            _remove(path, stamp)
            return None
        return holder

    def _renew(self) -> None:
        while not self._end.wait(HEARTBEAT_SECONDS):
            with self._lock:
                for descriptor in self._held.values():
                    with suppress(OSError):  # it is renewed ten seconds later, or lost
                        os.utime(descriptor)

    def _warn(self, store: Path, error: OSError) -> None:
        if store not in self._unusable:
            self._unusable.add(store)
            logger.warning(
                f"{store}: this run cannot say there what it computes ({error.strerror}), so another experiment may "
                "compute the same at the same time. Both get their results."
            )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other run is in this block with the same folder."""
    claims = Claims(folder, lambda _: True)
    try:
        while holder := claims.acquire("all", [folder]):
            logger.info(f"{folder}: {holder} is at work there; waiting")
            time.sleep(HEARTBEAT_SECONDS)
        yield
    finally:
        claims.close()


def _create(path: Path, record: str) -> int:
    """Create a claim; raises FileExistsError if there is one."""
    while True:
        _make_folder(path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:  # another run has removed the folder, with its last claim
            continue
        try:
            os.fchmod(descriptor, stat.S_IMODE(path.parent.stat().st_mode) & 0o666)  # whatever the umask
            os.write(descriptor, record.encode())
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor


def _make_folder(folder: Path) -> None:
    """Make the folder of the claims, for all who may write beside it: members of a group, for example."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    with suppress(FileNotFoundError):  # removed already
        folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))


def _parse(text: str) -> Holder:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return UNKNOWN


def _remove(path: Path, stamp: tuple[int, int]) -> None:
    """Remove a claim that is over. Of several runs that try, one does; one that another run has made since stays."""
    aside = temporary_path(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
        status = aside.stat()
        if (status.st_ino, status.st_mtime_ns) != stamp:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
