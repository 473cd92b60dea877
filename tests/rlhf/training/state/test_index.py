"""An index of tensors is accepted, and one that calls anything else is refused, whatever it calls."""

import builtins
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import checkpoint
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

from rlhf.base.files.checksums import SHARD_INDEX, DamagedError, seal_folder, verify
from rlhf.training.state.index import refuse_code


class Calls:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state as torch writes it, with tensors of several dtypes and plain numbers."""
    tensors = {str(dtype): torch.ones(3, 2, dtype=dtype) for dtype in (torch.float32, torch.bfloat16, torch.int64)}
    checkpoint.save({**tensors, "learning_rate": 1e-3}, checkpoint_id=tmp_path / "state/optimizer_0")
    return tmp_path / "state"


def test_an_index_that_torch_writes_is_read(state: Path) -> None:
    assert (state / "optimizer_0" / SHARD_INDEX).is_file()
    refuse_code(state)


@pytest.mark.parametrize(
    "called",
    [
        Calls(open, "it_ran", "w"),
        Calls(os.mkdir, "it_ran"),
        Calls(builtins.eval, "open('it_ran', 'w')"),
        Calls(subprocess.check_call, ["touch", "it_ran"]),
        Calls(torch.load, "it_ran"),
    ],
    ids=["open", "mkdir", "eval", "subprocess", "torch.load"],
)
def test_code_in_an_index_does_not_run(called: Calls, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state)
    (state / "optimizer_0" / SHARD_INDEX).write_bytes(pickle.dumps({"storage_data": called}))
    with pytest.raises(pickle.UnpicklingError, match=f"it names .*{called.function.__name__}"):
        refuse_code(state)
    assert not (state / "it_ran").exists()


def test_members_of_enumerations_are_read_however_python_pickles_them(state: Path) -> None:
    """Python 3.11.0 to 3.11.3 call `getattr`; others call the class."""
    member = Calls(getattr, _MEM_FORMAT_ENCODING, "TORCH_PRESERVE_FORMAT")
    (state / "optimizer_0" / SHARD_INDEX).write_bytes(pickle.dumps({"storage_data": member}))
    refuse_code(state)


@pytest.mark.parametrize(("holder", "name"), [(_MEM_FORMAT_ENCODING, "mro"), (torch.Size, "__reduce__")])
def test_getattr_reaches_nothing_but_members(holder: type, name: str, state: Path) -> None:
    (state / "optimizer_0" / SHARD_INDEX).write_bytes(pickle.dumps({"storage_data": Calls(getattr, holder, name)}))
    with pytest.raises(pickle.UnpicklingError, match="not a member of an enumeration"):
        refuse_code(state)


def test_an_index_is_part_of_the_sealed_state(state: Path) -> None:
    seal_folder(state)
    verify(state)
    index = state / "optimizer_0" / SHARD_INDEX
    content = index.read_bytes()
    index.write_bytes(content[:-1] + b"x")
    with pytest.raises(DamagedError, match=f"optimizer_0/{SHARD_INDEX}"):
        verify(state)
    index.unlink()
    with pytest.raises(DamagedError, match=f"optimizer_0/{SHARD_INDEX}"):
        verify(state)
