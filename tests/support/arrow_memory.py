"""What Arrow holds at most while something is read."""

from collections.abc import Callable

import pyarrow as pa

_POOLS: list[pa.MemoryPool] = []
"""Kept to the end of the process: Arrow's threads still free into a pool when its reading has returned."""


def peak_of(read: Callable[[], object]) -> int:
    """Bytes that Arrow held at most during `read()`."""
    usual = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(usual)
    _POOLS.append(counted)
    pa.set_memory_pool(counted)
    try:
        read()
    finally:
        pa.set_memory_pool(usual)
    return counted.max_memory()
