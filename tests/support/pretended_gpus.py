"""A machine with GPUs, as far as nvidia-smi goes."""

import os
import uuid
from pathlib import Path

import pytest

from rlhf.machine.leases import GRANTED_BY


def pretend_gpus(folder: Path, count: int) -> dict[str, str]:
    """Environment variables for a process that is to see so many GPUs, with UUIDs of their own."""
    lines = [f"GPU-{uuid.uuid4()}, {index}" for index in range(count)]
    program = folder / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", "cat <<END", *lines, "END", ""]))
    program.chmod(0o755)
    shown = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return {**shown, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def without_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see all GPUs until its test ends, and forget then which of them it took."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", GRANTED_BY):
        monkeypatch.setenv(name, "")  # so that it is restored, even where it is not set now
        monkeypatch.delenv(name)
