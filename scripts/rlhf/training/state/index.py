"""The pickled index of a state that FSDP2 sharded: checked here before torch unpickles it without restrictions.

A pickle names what it calls. An index of tensors needs only the few names below; one with any other name could run
code. Python 3.11.0 to 3.11.3 pickle a member of an enumeration as a call of `getattr`, which could reach anything: here
it reaches members alone.
"""

from __future__ import annotations

import pickle
from enum import Enum
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


def enum_member(kind: type[Enum], name: str) -> Enum:
    """What `getattr` may be in a pickle: the member of an enumeration.

    Raises:
        pickle.UnpicklingError: anything else was asked for.
    """
    if not (isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__):
        raise pickle.UnpicklingError(f"it asks for {name!r} of {kind!r}, which is not a member of an enumeration")
    return kind[name]


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return enum_member
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
