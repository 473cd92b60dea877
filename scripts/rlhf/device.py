"""The devices that a program was granted, and the number of its compute threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.errors import UserError

if TYPE_CHECKING:
    import torch


def granted_device(gpus: int, threads: int) -> torch.device:
    """Fix the number of compute threads; the first GPU, or the CPU where none is asked for.

    The number of threads is fixed and not what happens to be free, because sums depend on it.

    Raises:
        UserError: fewer GPUs are visible than were asked for.
    """
    import torch

    torch.set_num_threads(threads)
    if gpus == 0:
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if visible < gpus:
        raise UserError(
            f"this job asks for {gpus} GPU(s) and sees {visible}. Set its `gpu` under `hardware` to 0 to run on the "
            "CPU, or check CUDA_VISIBLE_DEVICES and the allocation of the scheduler."
        )
    return torch.device("cuda", 0)
