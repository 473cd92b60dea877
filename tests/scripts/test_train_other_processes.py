"""A killed training resumes with another number of processes if its states allow it; otherwise the error says how."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from rlhf.training.schema import TRAINING
from rlhf.training.settings import RecipeSettings
from small_models import SCRIPTS, run_program
from training_inputs import flags, spec

pytestmark = pytest.mark.slow


def arguments(data: tuple[Path, Path], output: Path, strategy: str, processes: int) -> list[object]:
    made: dict[str, Any] = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    recipe = RecipeSettings(batch_size=4, epochs=4, learning_rate=1e-3, validation_interval=50)
    settings = {**made, "recipe": recipe.model_dump()}
    return [*flags(*data, output, settings), "--strategy", strategy, "--processes", processes, "--save-seconds", 0]


def killed_after(step: int, given: list[object], output: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "train_policy.py"), *map(str, given)]
    launcher = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list((output / "training_state").glob(f"*/step-{step:08d}")):
        assert launcher.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(launcher.pid).children(recursive=True)
    launcher.kill()
    launcher.wait()
    psutil.wait_procs(workers, timeout=10)


def test_ddp_resumes_with_three_processes_instead_of_two(data: tuple[Path, Path], tmp_path: Path) -> None:
    killed_after(3, arguments(data, tmp_path / "killed", "ddp", 2), tmp_path / "killed")
    resumed = run_program("train_policy", *arguments(data, tmp_path / "killed", "ddp", 3))
    whole = run_program("train_policy", *arguments(data, tmp_path / "whole", "ddp", 2))
    assert resumed.returncode == whole.returncode == 0, resumed.stderr + whole.stderr
    assert "resuming from the saved state after step" in resumed.stderr
    rows = [TRAINING.read(tmp_path / name / "training.parquet").to_pylist() for name in ("killed", "whole")]
    for row, expected in zip(*rows, strict=True):
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), name
    one, other = (load_file(tmp_path / name / "checkpoint/model.safetensors") for name in ("killed", "whole"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)


def test_zero3_names_the_saved_layout_and_both_remedies(data: tuple[Path, Path], tmp_path: Path) -> None:
    killed_after(2, arguments(data, tmp_path, "zero3", 2), tmp_path)
    done = run_program("train_policy", *arguments(data, tmp_path, "zero3", 3))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "saved by zero3 with 2 processes, and this training is set to zero3 with 3 processes" in last
    assert f"to start over, delete {tmp_path / 'training_state'}" in last
    assert "damaged" not in done.stderr
    assert list((tmp_path / "training_state").glob("*/step-*"))
