"""The machine: its name, and the peak rates of its matrix units and its memory."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import torch

from record import Row
from rlhf.training.compute_rate import peak_rate
from tasks import Exam, Task
from timing import copy_rate, matrix_rate


def tasks(exam: Exam) -> list[Task]:
    return [Task("the machine", 15, lambda: machine(exam.device))]


def machine(device: torch.device) -> Iterator[Row]:
    """Its name and memory, and the rates of a large matrix product and of a large copy."""
    facts: dict[str, Any] = {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"name": properties.name, "memory": properties.total_memory, "cuda": torch.version.cuda}
        facts |= {"capability": list(torch.cuda.get_device_capability(device))}
    rate, peak, copy = matrix_rate(device), peak_rate(device), copy_rate(device)
    against = "" if peak is None else f", {rate / peak:.0%} of the data sheet's {peak / 1e12:.0f}"
    memory = f", {facts['memory'] / 1e9:.1f} GB" if "memory" in facts else ""
    what = f"{facts['name']}{memory}: matrix products, copies in memory"
    measured = f"{rate / 1e12:.3g} TFLOP/s{against}; {copy / 1e12:.2g} TB/s"
    yield Row(what, measured, figures={**facts, "matrix_rate": rate, "peak_rate": peak, "copy_rate": copy})
