"""The claim of a training on the folder of its saved states: no second training, on any machine, writes there."""

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
"""A training on another machine counts as dead after this long without a heartbeat; on this one its process is looked
up. Shared file systems may show a heartbeat half a minute late."""
WAIT_SECONDS = 90
"""How long a training waits for a claim to become stale; that of a dead node does after `STALE_SECONDS`."""


@contextmanager
def claimed(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Hold the claim on a folder of saved states, in the main process; the other processes wait until it has it.

    A training that loses its claim (because its machine was suspended, say) ends at once, before it writes again.

    Raises:
        UserError: another training that is alive holds the claim, or the disk is full.
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
            f"{folder}: another running training saves its states here: {holder}. Wait for it or stop it, and run the "
            "same command again"
        ) from error
    try:
        accelerator.wait_for_everyone()
        yield
    finally:
        lease.release()
        if not any(folder.iterdir()):
            folder.rmdir()


def _end_at_once(loss: LeaseCompromise) -> None:
    """Called in the heartbeat's thread: an exception would not reach the training."""
    print(
        f"error: {loss.lock_file}: this training lost its claim on the saved states ({loss.reason}) and ends, because "
        "another one may have taken over. If there is none, run the same command again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
