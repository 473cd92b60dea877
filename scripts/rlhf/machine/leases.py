"""GPUs for one job alone: Snakemake starts jobs side by side on a machine, and tells none which GPU is its own."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from rlhf.base.errors import UserError

GRANTED_BY = "RLHF_GPUS_GRANTED_BY"
"""Environment variable: who gave this process the GPUs in CUDA_VISIBLE_DEVICES, `scheduler` or `lease`."""
NO_GPU = ("", "-1", "NoDevFiles")
"""What CUDA_VISIBLE_DEVICES holds where a process is to see none."""
WAIT_SECONDS = 0.5


class Gpu(NamedTuple):
    """A GPU, or a part of one (MIG)."""

    uuid: str
    entry: str
    """What CUDA_VISIBLE_DEVICES calls it."""


def lease_gpus(count: int) -> None:
    """Wait until `count` GPUs are free, take them all at once, and show this process and its children no others.

    Only GPUs in CUDA_VISIBLE_DEVICES are taken, where it is set. The kernel frees them when this process dies, in
    whatever way; `os.execv` keeps them. Where a scheduler, or the process that started this one, gave just as many,
    they are taken as they are. Other programs' use of a GPU is not seen.

    Raises:
        UserError: this process can see fewer than `count` GPUs.
    """
    if count == 0:
        return
    visible = visible_gpus()
    if len(visible) < count:
        raise UserError(
            f"this job asks for {count} GPU(s) and sees {len(visible)}. Set its `gpu` under `hardware` to 0 to run on "
            "the CPU, or check CUDA_VISIBLE_DEVICES, `nvidia-smi -L` and the allocation of the scheduler."
        )
    if GRANTED_BY in os.environ and len(visible) == count:
        return
    taken = _take(visible, count)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order of nvidia-smi's numbers
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.entry for gpu in taken)
    os.environ[GRANTED_BY] = "lease"


def visible_gpus() -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES shows this process; where it is not set, all of the machine.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names a GPU that is not there.
    """
    installed = installed_gpus()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return installed
    if shown in NO_GPU:
        return []
    return [_find(entry.strip(), installed) for entry in shown.split(",")]


def installed_gpus() -> list[Gpu]:
    """The GPUs of the machine in PCI order, as NVIDIA's management library (NVML) lists them; none without a driver.

    Raises:
        UserError: there is a driver, and it does not list its GPUs.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return []
    except pynvml.NVMLError as error:
        raise UserError(f"the NVIDIA driver does not start: {error}. See what `nvidia-smi` says.") from error
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [Gpu(pynvml.nvmlDeviceGetUUID(handle), str(index)) for index, handle in enumerate(handles)]
    except pynvml.NVMLError as error:
        raise UserError(f"the NVIDIA driver does not list its GPUs: {error}. See what `nvidia-smi` says.") from error
    finally:
        pynvml.nvmlShutdown()


def _find(entry: str, installed: Sequence[Gpu]) -> Gpu:
    if entry.startswith("MIG-"):
        return Gpu(uuid=entry, entry=entry)
    for gpu in installed:
        if entry == gpu.entry or (entry.startswith("GPU-") and gpu.uuid.startswith(entry)):
            return gpu
    raise UserError(f"CUDA_VISIBLE_DEVICES names GPU {entry}, which `nvidia-smi -L` does not list")


def _take(visible: Sequence[Gpu], count: int) -> list[Gpu]:
    """Jobs that see the same GPUs stand in line: one that needs many is not passed for ever by those that need few."""
    place = _wait_for_place(visible)
    told = False
    while True:
        leases = {gpu: lease for gpu in visible if (lease := _lock(f"gpu-{gpu.uuid}"))}
        for gpu in list(leases)[count:]:
            leases.pop(gpu).close()
        if len(leases) == count:
            break
        if not told:
            print(f"waiting for {count} GPU(s): {len(leases)} of {len(visible)} are free", file=sys.stderr, flush=True)
            told = True
        for lease in leases.values():
            lease.close()
        leases.clear()
        time.sleep(WAIT_SECONDS)
    for lease in leases.values():
        lease.set_inheritable(True)
        lease.detach()  # open until the process ends
    place.close()
    return list(leases)


def _wait_for_place(visible: Sequence[Gpu]) -> socket.socket:
    """The first place in the line for these GPUs."""
    line = hashlib.sha256(" ".join(sorted(gpu.uuid for gpu in visible)).encode()).hexdigest()
    while (place := _lock(f"next-{line}")) is None:
        time.sleep(WAIT_SECONDS)
    return place


def _lock(name: str) -> socket.socket | None:
    """A name that one process of the machine can hold; None where another one holds it.

    An address in Linux's abstract namespace, which no file has to be kept for, and which ends with its process.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0rlhf-{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return lock
