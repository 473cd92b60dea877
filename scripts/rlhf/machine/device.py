"""Sets up the device that a program was granted, and its number of compute threads."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.machine.leases import lease_gpus

if TYPE_CHECKING:
    import torch

MEBIBYTE = 2**20
GLIBC_MOST_KEPT = -1
GLIBC_LARGEST_KEPT_BLOCK = -3
"""Options of `mallopt` in malloc.h: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (at most 32 MiB)."""


def granted_device(gpus: int, threads: int) -> torch.device:
    """Lease `gpus` GPUs and set the number of compute threads.

    The number of threads does not adapt to the machine, because the last digits of sums depend on it.

    Returns:
        The first leased GPU, or the CPU if `gpus` is 0.

    Raises:
        UserError: there are fewer GPUs, or torch cannot use them.
    """
    lease_gpus(gpus)  # before torch looks for GPUs
    # Packs differ in size: without this, freed memory fragments into pieces too small for the next pack.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

    import torch

    torch.set_num_threads(threads)
    if gpus == 0:
        _keep_freed_memory()
        return torch.device("cpu")
    usable = torch.cuda.device_count()
    if usable != gpus:
        raise UserError(
            f"this job was granted {gpus} GPU(s), but torch {torch.__version__} can use {usable}: check that it is a "
            "CUDA build, and that the driver is new enough for it"
        )
    return torch.device("cuda", 0)


def _keep_freed_memory() -> None:
    """Keep freed memory in this process, so that the next layer reuses what the last one freed.

    By default glibc returns it to the system and fetches it again page by page, which takes a tenth of a forward pass.
    With another C library nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(GLIBC_LARGEST_KEPT_BLOCK, 32 * MEBIBYTE)
        set_option(GLIBC_MOST_KEPT, 1024 * MEBIBYTE)
