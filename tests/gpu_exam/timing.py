"""Seconds of work on an asynchronous device, and its rates of matrix products and copies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], device: torch.device, rounds: int = 3) -> float:
    """Median seconds of a number of calls, after a warm-up call."""
    work()
    return statistics.median(seconds_of(work, device) for _ in range(rounds))


def matrix_rate(device: torch.device) -> float:
    """Operations per second of a large random matrix product: bfloat16 on a GPU, float32 on a CPU."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: left @ right, device, rounds=20)


def copy_rate(device: torch.device) -> float:
    """Bytes per second of a copy within the device's memory, read and written bytes added up."""
    size = 2**32 if device.type == "cuda" else 2**26
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device, rounds=10)
