"""What a server has answered, on disk: no request is paid for twice.

A folder of files with one line per answer: the digest of the request, and the answer as JSON. Each process appends to a
file of its own, so that jobs on several machines can share the folder on any file system. A line is written in one go
when its answer arrives; a line that a kill or a full disk cut short is skipped, and none is written after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rlhf.base.settings import canonical_json

Answer = dict[str, Any]
DIGEST_CHARACTERS = 32
REFUSED = (400, 413, 422)
"""Statuses of a request that a server does not take, whenever it is asked: too long, for example."""


def request_digest(request: Any) -> str:
    """The digest of a request of JSON's types: 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(request).encode()).hexdigest()[:DIGEST_CHARACTERS]


class Journal:
    """The answers in a folder.

    Args:
        folder: made if it is missing; None keeps answers in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._own = _new_name()
        self._written = {self._own}
        """Names of this object's own files."""
        self._read: dict[Path, int] = {}
        """Bytes of each file that `unread` has returned."""
        self._new: dict[str, Answer] = {}

    def find(self, wanted: Collection[str]) -> dict[str, Answer]:
        """The recorded answers to the requests with these digests."""
        wanted = set(wanted)
        found = {digest: self._new[digest] for digest in wanted & self._new.keys()}
        for path in sorted(self.folder.glob("*.jsonl")) if self.folder else []:
            with path.open("rb") as lines:
                for line in lines:
                    digest = line[:DIGEST_CHARACTERS].decode("ascii", "replace")
                    if digest in wanted and digest not in found and (answer := _parse(line)) is not None:
                        found[digest] = answer
        return found

    def unread(self) -> Iterator[tuple[str, Answer]]:
        """Digests and answers that others have recorded since the last call; at the first call, all there are.

        Not what this object records, and not for several threads at the same time.
        """
        for path in sorted(self.folder.glob("*.jsonl")) if self.folder else []:
            if path.name in self._written or path.stat().st_size <= self._read.get(path, 0):
                continue
            with path.open("rb") as lines:
                lines.seek(self._read.get(path, 0))
                for line in lines:
                    if not line.endswith(b"\n"):  # cut short, or it is being written: read it again
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    if (answer := _parse(line)) is not None:
                        yield line[:DIGEST_CHARACTERS].decode("ascii", "replace"), answer

    def record(self, digest: str, answer: Answer) -> None:
        """Keep an answer. Threads may call this at the same time.

        Raises:
            OSError: it cannot be written, on a full disk for example.
        """
        line = f"{digest} {canonical_json(answer)}\n".encode()
        with self._lock:
            if self.folder is None:
                self._new[digest] = answer
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with (self.folder / self._own).open("ab", buffering=0) as file:
                    while line:
                        line = line[file.write(line) :]
            except OSError:
                self._own = _new_name()  # the next line must not go on where this one was cut
                self._written.add(self._own)
                raise


def _new_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"


def _parse(line: bytes) -> Answer | None:
    """The answer of a line; None if the line was cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        answer = json.loads(line[DIGEST_CHARACTERS:])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
