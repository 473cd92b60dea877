"""The pickled index of a state that FSDP2 cut for its processes: torch unpickles it whole, so it is read here before.

A pickle names what it calls. An index of tensors needs the few names below, and one with any other could run code.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from rlhf.base.files.checksums import SHARD_INDEX

CLASSES = {
    "pathlib": {"PosixPath"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.serialization": {"_get_layout"},
}
"""By module, what torch writes into an index, beside sizes and types of numbers."""


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = name in CLASSES.get(module, ())
        if module == "torch":
            known = name == "Size" or isinstance(getattr(torch, name, None), torch.dtype)
        if not known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no index of tensors does")
        return super().find_class(module, name)


def refuse_code(state: Path) -> None:
    """Read every index below the folder of a state.

    Raises:
        Exception: one names something else, or is no pickle.
    """
    for index in sorted(state.rglob(SHARD_INDEX)):
        with index.open("rb") as file:
            _IndexUnpickler(file).load()
