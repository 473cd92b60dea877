"""A table that is in a machine's memory once, however many processes read it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from rlhf.base.files.full_disks import named_full_disk

if TYPE_CHECKING:
    from accelerate import Accelerator

MORE_ROOM = (
    "The training data take about 4 KB per pair while the training runs: free some space, or set TMPDIR to another "
    "folder of this machine."
)


def once_per_machine(read: Callable[[], Iterator[pa.Table]], accelerator: Accelerator) -> pa.Table:
    """Concatenate the tables of `read` in a file that the first process of each machine writes and all memory-map.

    The file has no name, so nothing of it remains, however the processes end. Every process must call this.

    Raises:
        UserError: the folder for temporary files is full.
    """
    from accelerate.utils import gather_object

    with named_full_disk(Path(tempfile.gettempdir()), MORE_ROOM), tempfile.TemporaryFile() as file:
        if accelerator.is_local_main_process:
            _write(read(), file)
            pa.default_memory_pool().release_unused()
        # Nobody gets past this before all have written; the ranks of a machine's processes are consecutive.
        paths = gather_object([f"/proc/{os.getpid()}/fd/{file.fileno()}"])
        mapped = pa.memory_map(paths[accelerator.process_index - accelerator.local_process_index])
        accelerator.wait_for_everyone()
    return pa.ipc.open_file(mapped).read_all()


def _write(tables: Iterator[pa.Table], file: IO[bytes]) -> None:
    """Write one table at a time: no two are in memory together."""
    first = next(tables)
    with pa.ipc.new_file(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    file.flush()
