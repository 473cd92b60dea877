"""A machine with GPUs, as far as NVIDIA's management library goes."""

import os
import sys
import uuid
from pathlib import Path

import pytest

from rlhf.machine.leases import GRANTED_BY

STAND_IN = Path(__file__).with_name("pretended")
"""The folder of the module that takes pynvml's place."""


def pretend_gpus(count: int) -> dict[str, str]:
    """Environment variables for a process that sees this many GPUs, with UUIDs of their own."""
    shown = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    path = os.pathsep.join([str(STAND_IN), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**shown, "PYTHONPATH": path, "PRETENDED_GPUS": " ".join(f"GPU-{uuid.uuid4()}" for _ in range(count))}


def pretend_here(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Let this process import the stand-in until its test ends, with these environment variables."""
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(STAND_IN)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def without_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see all GPUs until its test ends, and forget then which of them it took."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", GRANTED_BY):
        monkeypatch.setenv(name, "")  # so that it is restored, even where it is not set now
        monkeypatch.delenv(name)
