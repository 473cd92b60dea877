"""Pretends that a machine has GPUs: the real `pynvml` on top of a stand-in for the driver's C library."""

from __future__ import annotations

import ctypes
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynvml

if TYPE_CHECKING:
    import pytest

SUPPORT = Path(__file__).parent
SUCCESS = 0


class PretendedDriver:
    """The functions of `libnvidia-ml.so.1` that list GPUs, with their C signatures.

    Args:
        uuids: of the GPUs, by index.
        failures: function name -> NVML error code that it returns.
        hidden: indices of GPUs that this process may not open.
    """

    def __init__(
        self, uuids: Sequence[str], failures: dict[str, int] | None = None, hidden: Sequence[int] = ()
    ) -> None:
        self.uuids = uuids
        self.hidden = hidden
        for name, code in (failures or {}).items():
            setattr(self, name, lambda *arguments, code=code: code)
        self.initialized = 0
        """Calls of nvmlInit without their nvmlShutdown."""

    def nvmlInitWithFlags(self, flags: int) -> int:  # noqa: N802
        self.initialized += 1
        return SUCCESS

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.initialized -= 1
        return SUCCESS

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.uuids)
        return SUCCESS

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, device: Any) -> int:  # noqa: N802
        if index.value in self.hidden:
            return pynvml.NVML_ERROR_NO_PERMISSION
        ctypes.cast(ctypes.byref(device._obj), ctypes.POINTER(ctypes.c_void_p))[0] = index.value + 1
        return SUCCESS

    def nvmlDeviceGetUUID(self, device: Any, text: ctypes.Array[ctypes.c_char], size: ctypes.c_uint) -> int:  # noqa: N802
        found = self.uuids[ctypes.cast(device, ctypes.c_void_p).value - 1].encode()
        if len(found) >= size.value:
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        text.value = found
        return SUCCESS


def new_uuids(count: int) -> list[str]:
    return [f"GPU-{uuid.uuid4()}" for _ in range(count)]


def pretend_gpus(folder: Path, uuids: Sequence[str]) -> dict[str, str]:
    """Environment variables for a Python process that is to see these GPUs, by a `sitecustomize.py` in `folder`."""
    (folder / "sitecustomize.py").write_text(
        f"import pynvml, pretended_gpus\npynvml.nvmlLib = pretended_gpus.PretendedDriver({list(uuids)})\n"
    )
    shown = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    path = [str(folder), str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**shown, "PYTHONPATH": os.pathsep.join(path)}


def pretend_driver(monkeypatch: pytest.MonkeyPatch, driver: PretendedDriver | None) -> None:
    """Let `pynvml` use this driver in this process until its test ends; None is a machine without one."""

    def no_library(name: str) -> None:
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(pynvml, "nvmlLib", driver)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", no_library)


def without_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what hides GPUs from this process, and restore it when its test ends, even if it leased some."""
    from rlhf.machine.leases import GRANTED_BY  # not at the top: processes that start elsewhere import this module

    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", GRANTED_BY):
        monkeypatch.setenv(name, "")  # so that it is restored, even if it is not set now
        monkeypatch.delenv(name)
