"""The devices that a program was granted, and the number of its compute threads."""

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
"""Options of mallopt, as malloc.h numbers them: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (at most 32 MiB)."""


def granted_device(gpus: int, threads: int) -> torch.device:
    """Lease the GPUs and fix the number of compute threads; the first GPU, or the CPU where none is asked for.

    The number of threads is fixed and not what happens to be free, because sums depend on it.

    Raises:
        UserError: there are fewer GPUs than were asked for, or torch cannot use them.
    """
    lease_gpus(gpus)  # before torch looks for GPUs
    # Packs differ in size: without it, what one leaves free is in pieces too small for the next.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

    import torch

    torch.set_num_threads(threads)
    if gpus == 0:
        _keep_freed_memory()
        return torch.device("cpu")
    usable = torch.cuda.device_count()
    if usable != gpus:
        raise UserError(
            f"this job was granted {gpus} GPU(s), and torch {torch.__version__} can use {usable}: is it a build for "
            "CUDA, and the driver new enough for it?"
        )
    return torch.device("cuda", 0)


def _keep_freed_memory() -> None:
    """Let this process keep the memory that a layer's tensors leave for the next layer's.

    glibc gives it back to the system and gets it anew, page by page: a tenth of the time of a forward pass. Where the C
    library is another one, nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(GLIBC_LARGEST_KEPT_BLOCK, 32 * MEBIBYTE)
        set_option(GLIBC_MOST_KEPT, 1024 * MEBIBYTE)
