"""Several processes, on the CPU for real, train as one does."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from rlhf.training import TRAINING, RecipeSettings
from small_models import SCRIPTS, run_program, save_small_policy
from training_inputs import flags, spec, write_all

DDP = ("--processes", 2, "--strategy", "ddp")
Run = tuple[list[dict[str, Any]], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the pairs, and the parent."""
    folder = tmp_path_factory.mktemp("data")
    policy = save_small_policy(folder / "policy")
    write_all(folder, policy, "float32")
    return folder, policy


def settings(epochs: int = 1, batch_size: int = 4) -> dict[str, Any]:
    recipe = RecipeSettings(batch_size=batch_size, epochs=epochs, learning_rate=1e-3, validation_interval=2)
    return {**spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32"), "recipe": recipe.model_dump()}


def trained(data: tuple[Path, Path], output: Path, *more: object) -> Run:
    done = run_program("train_policy", *flags(*data, output, settings(epochs=2)), *more)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training trained-1: 24 of 24 pairs") == 1
    return TRAINING.read(output / "training.parquet").to_pylist(), load_file(output / "checkpoint/model.safetensors")


@pytest.fixture(scope="module")
def single(data: tuple[Path, Path]) -> Run:
    return trained(data, data[0] / "single")


@pytest.mark.parametrize(
    "more",
    [DDP, ("--token-budget", 1), (*DDP, "--token-budget", 1), ("--processes", 3, "--strategy", "ddp")],
    ids=["two", "one pair at once", "two, one pair at once", "three"],
)
def test_the_trajectory_is_that_of_one_process(
    more: tuple[object, ...], single: Run, data: tuple[Path, Path], tmp_path: Path
) -> None:
    metrics, weights = trained(data, tmp_path, *more)
    for row, expected in zip(metrics, single[0], strict=True):
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), (
                row["step"],
                name,
            )
    for name, tensor in single[1].items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4)


def test_strategy_and_number_of_processes_must_go_together(data: tuple[Path, Path], tmp_path: Path) -> None:
    done = run_program("train_policy", *flags(*data, tmp_path, settings()), "--strategy", "ddp")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: strategy ddp with 1 process(es)")


def test_killed_processes_go_on_with_equal_bytes(data: tuple[Path, Path], tmp_path: Path) -> None:
    digests = []
    for name, interrupted in (("whole", False), ("killed", True)):
        output = tmp_path / name
        arguments = [*flags(*data, output, settings(epochs=12, batch_size=2)), *DDP]
        command = [sys.executable, str(SCRIPTS / "train_policy.py"), *map(str, arguments)]
        if interrupted:
            process = subprocess.Popen([*command, "--save-seconds", "0"], stderr=subprocess.DEVNULL)
            while not list((output / "training_state").glob("*/step-*[1-9]?")):
                assert process.poll() is None
                time.sleep(0.01)
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("going on from the saved state" in done.stderr) == interrupted
        digests.append(hashlib.sha256((output / "checkpoint/model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
