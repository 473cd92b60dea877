"""Saved states are read as weights: what else is in them does not run."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from rlhf.errors import UserError
from rlhf.training_state import Position, TrainingStates


class Opens:
    """A pickle of it makes a file when it is read."""

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
    """Save the state of a model after step 4; its weights."""
    accelerator, model = prepared()
    with torch.no_grad():
        model.weight.fill_(4.0)
    TrainingStates(folder, "mine", 0).after_step(accelerator, Position(4, 100, [{"loss": 1.0}]))
    return model.weight.detach().clone()


def test_a_state_comes_back(tmp_path: Path) -> None:
    weights = save(tmp_path)
    accelerator, model = prepared()
    assert not torch.equal(model.weight, weights)
    before = dict(os.environ)
    assert TrainingStates(tmp_path, "mine", 0).resume(accelerator) == Position(4, 100, [{"loss": 1.0}])
    assert torch.equal(model.weight, weights)
    assert dict(os.environ) == before


@pytest.mark.parametrize("file", ["optimizer.bin", "pytorch_model.bin"])
def test_code_in_a_state_does_not_run(file: str, tmp_path: Path) -> None:
    save(tmp_path)
    (state,) = (tmp_path / "mine").glob("step-*")
    if file == "pytorch_model.bin":  # accelerate takes it where there are no safetensors
        (state / "model.safetensors").unlink()
    else:
        assert (state / file).is_file()
    torch.save({"state": Opens(tmp_path / "it_ran")}, state / file)
    with pytest.raises(UserError, match=r"step-00000004: this saved state cannot be read \(UnpicklingError"):
        TrainingStates(tmp_path, "mine", 0).resume(prepared()[0])
    assert not (tmp_path / "it_ran").exists()


def test_code_in_random_states_does_not_run(tmp_path: Path) -> None:
    """accelerate goes on without them: no step draws from the generators that they restore."""
    save(tmp_path)
    (state,) = (tmp_path / "mine").glob("step-*")
    assert (state / "random_states_0.pkl").is_file()
    torch.save({"random_state": Opens(tmp_path / "it_ran")}, state / "random_states_0.pkl")
    TrainingStates(tmp_path, "mine", 0).resume(prepared()[0])
    assert not (tmp_path / "it_ran").exists()


def test_not_even_where_a_library_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DeepSpeed does, by `weights_only=False`."""
    save(tmp_path)
    accelerator, _ = prepared()
    torch.save(Opens(tmp_path / "it_ran"), tmp_path / "shard.pt")

    def as_deepspeed(folder: str) -> None:
        torch.load(tmp_path / "shard.pt", weights_only=False)

    monkeypatch.setattr(accelerator, "load_state", as_deepspeed)
    with pytest.raises(UserError, match="this saved state cannot be read"):
        TrainingStates(tmp_path, "mine", 0).resume(accelerator)
    assert not (tmp_path / "it_ran").exists()
