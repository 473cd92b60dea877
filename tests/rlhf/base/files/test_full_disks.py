"""What a full disk makes of each library that writes here: one sentence, and nothing left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from rlhf.base.errors import UserError
from rlhf.base.files.folders import whole_folder
from rlhf.base.files.full_disks import named_full_disk, no_room
from small_disk import NEEDS_ROOT, SmallDisk

NUMBERS = torch.arange(100_000, dtype=torch.float32)


def save_tokenizer(path: Path) -> None:
    Tokenizer(WordLevel({f"word{number}": number for number in range(20_000)}, "word0")).save(str(path))


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text(json.dumps(list(range(100_000)))),
    "parquet": lambda path: pq.write_table(pa.table({"a": np.random.default_rng(0).random(50_000)}), path),
    "safetensors": lambda path: save_file({"a": NUMBERS}, path),
    "torch": lambda path: torch.save({"a": NUMBERS}, path),
    "torch, the old format": lambda path: torch.save({"a": NUMBERS}, path, _use_new_zipfile_serialization=False),
    "tokenizers": save_tokenizer,
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, SmallDisk]]:
    with SmallDisk(tmp_path, size="64k") as small:
        yield tmp_path, small


@NEEDS_ROOT
@pytest.mark.parametrize("library", WRITERS)
def test_each_library_that_writes(library: str, disk: tuple[Path, SmallDisk]) -> None:
    folder, small = disk
    target = folder / "checkpoint"
    sentence = f"{target}: cannot be written: the disk {folder} is full"
    with pytest.raises(UserError, match=re.escape(sentence)), whole_folder(target) as temporary:
        WRITERS[library](temporary / "file")
    assert list(folder.iterdir()) == []
    small.resize("10m")
    with whole_folder(target) as temporary:
        WRITERS[library](temporary / "file")
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]


@NEEDS_ROOT
def test_no_more_files(tmp_path: Path) -> None:
    """Room for bytes, and none for another file."""
    with SmallDisk(tmp_path, size="1m,nr_inodes=3"):
        with pytest.raises(UserError, match="it cannot hold more files"), whole_folder(tmp_path / "out") as temporary:
            for name in "abc":
                (temporary / name).write_text(name)
        assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    other = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
    for error in (ValueError("a defect"), PermissionError(13, "Permission denied"), other):
        with pytest.raises(type(error)) as raised, named_full_disk(tmp_path / "out"):
            raise error
        assert raised.value is error


def test_a_quota(tmp_path: Path) -> None:
    sentence = r"out: cannot be written: your quota on the disk \S+ is exhausted\. Free some space on the disk"
    with pytest.raises(UserError, match=sentence), named_full_disk(tmp_path / "out"):
        raise OSError(122, "Disk quota exceeded")
    assert no_room(RuntimeError("Error while serializing: I/O error: Disk quota exceeded (os error 122)")) == 122
