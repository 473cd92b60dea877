"""The claim of a training on the place where it saves its states: no second one writes there, on any machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from filelock import LeaseCompromise, SoftFileLease, Timeout

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import named_full_disk

CLAIM = "claim"
HEARTBEAT_SECONDS = 10
STALE_SECONDS = 60
"""Without a heartbeat for so long, a training on another machine counts as dead; on this one its process is looked up.
File systems that machines share may show a heartbeat half a minute late."""
WAIT_SECONDS = 90
"""How long a training waits for a claim to become stale. A dead node's takes `STALE_SECONDS`."""


@contextmanager
def claimed(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Hold the claim on a folder of saved states, in the main process; no process goes on without it.

    A training that loses its claim (its machine was suspended, say) ends at once, before it writes again.

    Raises:
        UserError: another training holds it, and lives; or the disk is full.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    lease = SoftFileLease(
        folder / CLAIM, lease_duration=STALE_SECONDS, heartbeat_interval=HEARTBEAT_SECONDS, on_compromise=_end_at_once
    )
    try:
        with named_full_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lease.acquire(timeout=WAIT_SECONDS)
    except Timeout as error:
        owner = lease.owner
        holder = f"process {owner.pid} on {owner.hostname}" if owner else f"whoever wrote {folder / CLAIM}"
        raise UserError(
            f"{folder}: another training saves its states here, and lives: {holder}. Wait for it or end it, and run "
            "the same command again"
        ) from error
    try:
        accelerator.wait_for_everyone()
        yield
    finally:
        lease.release()
        if not any(folder.iterdir()):
            folder.rmdir()


def _end_at_once(loss: LeaseCompromise) -> None:
    """Called beside the training: an exception here would not reach it."""
    print(
        f"error: {loss.lock_file}: this training lost its claim on the saved states ({loss.reason}), and ends: another "
        "one may have taken over. If there is none, run the same command again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
