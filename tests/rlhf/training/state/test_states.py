"""Saved states are loaded as weights only: code in them does not run."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import seal_folder
from rlhf.training.state.states import Position, TrainingStates, state_layout


class Opens:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def prepared() -> tuple[Accelerator, nn.Linear]:
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(3)
    model = nn.Linear(2, 3)
    accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    return accelerator, model


def save(folder: Path) -> torch.Tensor:
    """Save the state of a model after step 4; returns its weights."""
    accelerator, model = prepared()
    with torch.no_grad():
        model.weight.fill_(4.0)
    TrainingStates(folder, "mine", 0, "single").after_step(accelerator, Position(4, 100, [{"loss": 1.0}]))
    return model.weight.detach().clone()


def test_a_state_is_restored(tmp_path: Path) -> None:
    weights = save(tmp_path)
    accelerator, model = prepared()
    assert not torch.equal(model.weight, weights)
    before = dict(os.environ)
    assert TrainingStates(tmp_path, "mine", 0, "single").resume(accelerator) == Position(4, 100, [{"loss": 1.0}])
    assert torch.equal(model.weight, weights)
    assert dict(os.environ) == before


@pytest.mark.parametrize("file", ["optimizer.bin", "pytorch_model.bin"])
def test_code_in_a_state_does_not_run(file: str, tmp_path: Path) -> None:
    save(tmp_path)
    (state,) = (tmp_path / "mine").glob("step-*")
    if file == "pytorch_model.bin":  # accelerate reads it if there are no safetensors
        (state / "model.safetensors").unlink()
    else:
        assert (state / file).is_file()
    torch.save({"state": Opens(tmp_path / "it_ran")}, state / file)
    seal_folder(state)
    with pytest.raises(UserError, match=r"step-00000004: this saved state cannot be read \(UnpicklingError"):
        TrainingStates(tmp_path, "mine", 0, "single").resume(prepared()[0])
    assert not (tmp_path / "it_ran").exists()


def test_code_in_random_states_does_not_run(tmp_path: Path) -> None:
    """accelerate continues without them: no step draws from the generators that they restore."""
    save(tmp_path)
    (state,) = (tmp_path / "mine").glob("step-*")
    assert (state / "random_states_0.pkl").is_file()
    torch.save({"random_state": Opens(tmp_path / "it_ran")}, state / "random_states_0.pkl")
    seal_folder(state)
    TrainingStates(tmp_path, "mine", 0, "single").resume(prepared()[0])
    assert not (tmp_path / "it_ran").exists()


def test_code_does_not_run_even_if_a_library_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DeepSpeed does, by `weights_only=False`."""
    save(tmp_path)
    accelerator, _ = prepared()
    torch.save(Opens(tmp_path / "it_ran"), tmp_path / "shard.pt")

    def as_deepspeed(folder: str) -> None:
        torch.load(tmp_path / "shard.pt", weights_only=False)

    monkeypatch.setattr(accelerator, "load_state", as_deepspeed)
    with pytest.raises(UserError, match="this saved state cannot be read"):
        TrainingStates(tmp_path, "mine", 0, "single").resume(accelerator)
    assert not (tmp_path / "it_ran").exists()


def test_one_flipped_bit_is_refused_with_the_file(tmp_path: Path) -> None:
    save(tmp_path)
    (state,) = (tmp_path / "mine").glob("step-*")
    for file in sorted(state.iterdir()):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"this saved state cannot be read .*Delete this folder"):
            TrainingStates(tmp_path, "mine", 0, "single").resume(prepared()[0])
        file.write_bytes(whole)
    assert TrainingStates(tmp_path, "mine", 0, "single").resume(prepared()[0]) is not None


def test_a_state_of_another_layout_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    save(tmp_path)
    states = TrainingStates(tmp_path, "mine", 0, state_layout("zero3", 8))
    with pytest.raises(UserError) as refused:
        states.resume(prepared()[0])
    said = str(refused.value)
    assert "was saved by single, and this training is set to zero3 with 8 processes" in said
    assert f"to start over, delete {tmp_path}" in said
    assert "To resume, set `strategy`" in said


def test_any_number_of_ddp_processes_reads_its_states() -> None:
    assert state_layout("ddp", 8) == state_layout("ddp", 4) != state_layout("single", 1)
    assert state_layout("zero3", 8) != state_layout("zero3", 4)


def test_there_are_never_more_than_two_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Including the one that is being written; the next save removes what a kill has left."""
    accelerator, _ = prepared()
    states = TrainingStates(tmp_path, "mine", 0, "single")
    mine = tmp_path / "mine"
    (mine / ".step-00000009.tmp").mkdir(parents=True)
    (mine / ".step-00000001.removed").mkdir()
    seen = []
    write = accelerator.save_state
    monkeypatch.setattr(
        accelerator, "save_state", lambda folder: (write(folder), seen.append(len(list(mine.iterdir()))))
    )
    for step in range(1, 5):
        states.after_step(accelerator, Position(step, 0, []))
    assert seen == [1, 2, 2, 2]
    assert [path.name for path in sorted(mine.iterdir())] == ["step-00000003", "step-00000004"]
    (tmp_path / "theirs/step-00000007").mkdir(parents=True)
    states.keep_last()
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["mine", "step-00000004"]
