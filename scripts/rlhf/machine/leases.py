"""Exclusive GPUs for a job: Snakemake runs jobs side by side on a machine, and does not tell them which GPU to use."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rlhf.base.errors import UserError

GRANTED_BY = "RLHF_GPUS_GRANTED_BY"
"""Environment variable: who gave this process the GPUs in CUDA_VISIBLE_DEVICES, `scheduler` or `lease`."""
NO_GPU = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""
WAIT_SECONDS = 0.5


class Gpu(NamedTuple):
    """A GPU, or a slice of one (MIG)."""

    uuid: str
    entry: str
    """Its name in CUDA_VISIBLE_DEVICES."""


def lease_gpus(count: int) -> None:
    """Wait until `count` GPUs are free, lease them together, and hide all others from this process and its children.

    Only GPUs in CUDA_VISIBLE_DEVICES are leased, if it is set. The kernel ends the lease when this process dies,
    however it dies; `os.execv` keeps it. If a scheduler, or the process that started this one, granted exactly `count`
    GPUs, they are used without a lease. GPUs in use by other programs are not detected.

    Raises:
        UserError: this process can see fewer than `count` GPUs.
    """
    if count == 0:
        return
    visible = visible_gpus()
    if len(visible) < count:
        raise UserError(
            f"this job asks for {count} GPU(s) and sees {len(visible)}. To run on the CPU, set its `gpu` under "
            "`hardware` to 0; otherwise check CUDA_VISIBLE_DEVICES, `nvidia-smi -L` and the scheduler's allocation."
        )
    if GRANTED_BY in os.environ and len(visible) == count:
        return
    taken = _take(visible, count)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's order
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.entry for gpu in taken)
    os.environ[GRANTED_BY] = "lease"


def visible_gpus() -> list[Gpu]:
    """The GPUs in CUDA_VISIBLE_DEVICES, or all of the machine's if it is not set.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names a GPU that does not exist, or the driver does not answer.
    """
    installed = installed_gpus()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return installed
    if shown in NO_GPU:
        return []
    return [_find(entry.strip(), installed) for entry in shown.split(",")]


def installed_gpus() -> list[Gpu]:
    """The GPUs that NVML lists, in PCI bus order, named by index; none if there is no NVIDIA driver.

    Raises:
        UserError: there is a driver, but it cannot list the GPUs.
    """
    import pynvml  # not at the top: Snakemake imports this module too, and may not have it

    try:
        pynvml.nvmlInit()
        try:
            uuids = list(_accessible_uuids())
        finally:
            pynvml.nvmlShutdown()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return []
    except pynvml.NVMLError as error:
        raise UserError(
            f"the NVIDIA driver cannot list the GPUs: {error}. Run `nvidia-smi` on this machine to see whether the "
            "driver works; after a driver update, reboot."
        ) from error
    return [Gpu(uuid, str(index)) for index, uuid in enumerate(uuids)]


def _accessible_uuids() -> Iterator[str]:
    import pynvml

    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError_NoPermission:  # counted, but hidden from this job by a cgroup: CUDA skips it too
            continue
        yield pynvml.nvmlDeviceGetUUID(handle)


def _find(entry: str, installed: Sequence[Gpu]) -> Gpu:
    if entry.startswith("MIG-"):
        return Gpu(uuid=entry, entry=entry)
    for gpu in installed:
        if entry == gpu.entry or (entry.startswith("GPU-") and gpu.uuid.startswith(entry)):
            return gpu
    raise UserError(f"CUDA_VISIBLE_DEVICES names GPU {entry}, which `nvidia-smi -L` does not list")


def _take(visible: Sequence[Gpu], count: int) -> list[Gpu]:
    """Jobs that see the same GPUs queue: otherwise jobs that need few GPUs would starve one that needs many."""
    turn = _wait_for_turn(visible)
    announced = False
    while True:
        leases = {gpu: lease for gpu in visible if (lease := _lock(f"gpu-{gpu.uuid}"))}
        for gpu in list(leases)[count:]:
            leases.pop(gpu).close()
        if len(leases) == count:
            break
        if not announced:
            print(f"waiting for {count} GPU(s): {len(leases)} of {len(visible)} are free", file=sys.stderr, flush=True)
            announced = True
        for lease in leases.values():
            lease.close()
        leases.clear()
        time.sleep(WAIT_SECONDS)
    for lease in leases.values():
        lease.set_inheritable(True)
        lease.detach()  # open until the process ends
    turn.close()
    return list(leases)


def _wait_for_turn(visible: Sequence[Gpu]) -> socket.socket:
    """Wait to be at the head of the queue for these GPUs; closing the socket lets the next job in."""
    queue = hashlib.sha256(" ".join(sorted(gpu.uuid for gpu in visible)).encode()).hexdigest()
    while (turn := _lock(f"next-{queue}")) is None:
        time.sleep(WAIT_SECONDS)
    return turn


def _lock(name: str) -> socket.socket | None:
    """A machine-wide lock by name; None if another process holds it.

    It is a socket address in Linux's abstract namespace: it needs no file, and the kernel frees it with its process.
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
