"""What a group of rows consists of, and how its tasks are carried out one after the other."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from record import Row, not_measured


@dataclass(frozen=True)
class Exam:
    """What every task works with."""

    device: torch.device
    small: bool
    """Whether shapes are so small that a CPU computes them in seconds."""
    folder: Path
    """For files that one group leaves for another."""
    ends: float
    """When the exam must be over, as `time.time` counts."""

    @property
    def no_gpu(self) -> str:
        """Why a task that needs a GPU is left out; empty where there is one."""
        return "" if self.device.type == "cuda" else "no GPU"


@dataclass(frozen=True)
class Task:
    """Work that gives one or more rows."""

    what: str
    seconds: float
    """How long it takes on an H100, estimated from above: where less is left it is not begun."""
    rows: Callable[[], Iterable[Row]]
    missing: str = ""
    """What it needs and this machine lacks; empty: nothing."""


def not_installed(package: str) -> str:
    """Why a task that needs this package is left out; empty where it is there."""
    return "" if find_spec(package) else f"{package} is not installed"


def carry_out(tasks: Sequence[Task], exam: Exam, report: Callable[[Row], None]) -> None:
    """Report the rows of all tasks. One that raises is a failed row, and the next one begins with free memory."""
    for task in tasks:
        left = exam.ends - time.time()
        if task.missing:
            report(not_measured(task.what, task.missing))
            continue
        if exam.device.type == "cuda" and task.seconds > left:
            report(not_measured(task.what, f"it takes {task.seconds:.0f} s, and {max(left, 0):.0f} s are left"))
            continue
        last = time.monotonic()
        try:
            for row in task.rows():
                now = time.monotonic()
                report(replace(row, seconds=now - last))
                last = now
        except Exception as error:  # noqa: BLE001 (reported as a failed row: the exam goes on)
            traceback.print_exc()
            text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            figures = {"traceback": traceback.format_exc()}
            report(Row(task.what, text, verdict="FAIL", figures=figures, seconds=time.monotonic() - last))
        free_memory(exam.device)


def free_memory(device: torch.device) -> None:
    """Drop what nothing refers to, and begin to count the peak anew."""
    gc.collect()
    if device.type == "cuda" and torch.cuda.is_initialized():  # not yet where all was computed on the CPU
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
