"""The tasks of a group of rows, and how they are run one after the other."""

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
    """What every task gets."""

    device: torch.device
    small: bool
    """Whether shapes are small enough for a CPU to compute them in seconds."""
    folder: Path
    """Folder for files that one group leaves for another."""
    ends: float
    """When the exam must be over, in the seconds of `time.time`."""

    @property
    def no_gpu(self) -> str:
        """Why a task that needs a GPU is left out; empty if there is one."""
        return "" if self.device.type == "cuda" else "no GPU"


@dataclass(frozen=True)
class Task:
    """Work that makes one or more rows."""

    what: str
    seconds: float
    """Upper estimate of its time on an H100: it is not started if less is left."""
    rows: Callable[[], Iterable[Row]]
    missing: str = ""
    """What it needs and this machine lacks; empty if nothing."""


def not_installed(package: str) -> str:
    """Why a task that needs this package is left out; empty if it is installed."""
    return "" if find_spec(package) else f"{package} is not installed"


def carry_out(tasks: Sequence[Task], exam: Exam, report: Callable[[Row], None]) -> None:
    """Report the rows of all tasks. A task that raises is a failed row, and the next one starts with free memory."""
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
        except Exception as error:  # noqa: BLE001 (reported as a failed row: the exam continues)
            traceback.print_exc()
            text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            figures = {"traceback": traceback.format_exc()}
            report(Row(task.what, text, verdict="FAIL", figures=figures, seconds=time.monotonic() - last))
        free_memory(exam.device)


def free_memory(device: torch.device) -> None:
    """Free what nothing refers to, and reset the peak."""
    gc.collect()
    if device.type == "cuda" and torch.cuda.is_initialized():  # not if everything was computed on the CPU so far
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
