"""The pickled index of a state that FSDP2 sharded: checked here before torch unpickles it without restrictions.

A pickle names what it calls. An index of tensors needs only the few names below; one with any other name could run
code.
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
"""By module, the names that torch writes into an index, in addition to sizes and dtypes."""


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = name in CLASSES.get(module, ())
        if module == "torch":
            known = name == "Size" or isinstance(getattr(torch, name, None), torch.dtype)
        if not known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which does not occur in an index of tensors")
        return super().find_class(module, name)


def refuse_code(state: Path) -> None:
    """Check every index in the folder of a state.

    Raises:
        Exception: one of them names anything else, or is not a pickle.
    """
    for index in sorted(state.rglob(SHARD_INDEX)):
        with index.open("rb") as file:
            _IndexUnpickler(file).load()
