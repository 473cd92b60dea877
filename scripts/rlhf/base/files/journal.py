"""What a judge has answered, on disk: no request is paid for twice.

A folder of files with one line per answer: the digest of the request, and the answer as JSON. Each process appends to a
file of its own, so that jobs on several machines can share the folder on any file system. A line is written in one go
when its answer arrives; a line that a kill cut short is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rlhf.base.settings import canonical_json

Answer = dict[str, Any]
DIGEST_CHARACTERS = 32


def request_digest(request: Any) -> str:
    """The digest of a request of JSON's types: 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(request).encode()).hexdigest()[:DIGEST_CHARACTERS]


class Journal:
    """The answers in a folder.

    Args:
        folder: made if it is missing; None keeps answers in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._own = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._new: dict[str, Answer] = {}

    def find(self, wanted: Collection[str]) -> dict[str, Answer]:
        """The recorded answers to the requests with these digests."""
        wanted = set(wanted)
        found = {digest: self._new[digest] for digest in wanted & self._new.keys()}
        for path in sorted(self._folder.glob("*.jsonl")) if self._folder else []:
            with path.open("rb") as lines:
                for line in lines:
                    digest = line[:DIGEST_CHARACTERS].decode("ascii", "replace")
                    if digest in wanted and digest not in found and (answer := _parse(line)) is not None:
                        found[digest] = answer
        return found

    def record(self, digest: str, answer: Answer) -> None:
        """Keep an answer. Threads may call this at the same time."""
        line = f"{digest} {canonical_json(answer)}\n".encode()
        with self._lock:
            if self._folder is None:
                self._new[digest] = answer
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / self._own).open("ab", buffering=0) as file:
                file.write(line)


def _parse(line: bytes) -> Answer | None:
    """The answer of a line; None if the line was cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        answer = json.loads(line[DIGEST_CHARACTERS:])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
