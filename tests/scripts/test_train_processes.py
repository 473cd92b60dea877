"""Several real processes on the CPU train like a single one."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlhf.training.schema import TRAINING
from rlhf.training.settings import RecipeSettings
from small_models import SCRIPTS, run_program
from training_inputs import flags, spec, write_all

DDP = ("--processes", 2, "--strategy", "ddp")
ZERO3 = ("--processes", 2, "--strategy", "zero3")
Run = tuple[list[dict[str, Any]], dict[str, torch.Tensor]]


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
    [
        DDP,
        ("--token-budget", 1),
        (*DDP, "--token-budget", 1),
        pytest.param(ZERO3, marks=pytest.mark.slow),
        pytest.param((*ZERO3, "--token-budget", 1), marks=pytest.mark.slow),
    ],
    ids=["two", "one pair at once", "two, one pair at once", "ZeRO-3", "ZeRO-3, one pair at once"],
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


@pytest.mark.slow
def test_the_checkpoint_of_zero3_is_a_plain_model(single: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    """Like that of one process, also in bfloat16: plain transformers finds every weight in its place."""
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        folder.mkdir()
        write_all(folder, data[1], precision)
        made = {**settings(epochs=2), "precision": precision}
        for name, more in (("single", ()), ("zero3", ZERO3)):
            done = run_program("train_policy", *flags(folder, data[1], folder / name, made), *more)
            assert done.returncode == 0, done.stderr
        checkpoints = [folder / name / "checkpoint" for name in ("single", "zero3")]
        one, shared = (AutoModelForCausalLM.from_pretrained(checkpoint) for checkpoint in checkpoints)
        assert one.dtype == shared.dtype == getattr(torch, precision)
        parent = AutoModelForCausalLM.from_pretrained(data[1]).state_dict()
        for name, tensor in one.state_dict().items():
            moved = (tensor.float() - parent[name]).norm()
            difference = (shared.state_dict()[name].float() - tensor.float()).norm()
            assert float(difference / moved) < (1e-2 if precision == "float32" else 0.5), name
        assert sorted(path.name for path in (folder / "zero3/checkpoint").iterdir()) == sorted(
            path.name for path in (folder / "single/checkpoint").iterdir()
        )


def test_strategy_and_number_of_processes_must_go_together(data: tuple[Path, Path], tmp_path: Path) -> None:
    done = run_program("train_policy", *flags(*data, tmp_path, settings()), "--strategy", "ddp")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: strategy ddp with 1 process(es)")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero3"])
def test_killed_processes_resume_with_equal_bytes(strategy: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    digests = []
    for name, interrupted in (("whole", False), ("killed", True)):
        output = tmp_path / name
        made = settings(epochs=12, batch_size=2)
        arguments = [*flags(*data, output, made), "--processes", 2, "--strategy", strategy]
        command = [sys.executable, str(SCRIPTS / "train_policy.py"), *map(str, arguments)]
        if interrupted:
            process = subprocess.Popen([*command, "--save-seconds", "0"], stderr=subprocess.DEVNULL)
            while not list((output / "training_state").glob("*/step-*[1-9]?")):
                assert process.poll() is None
                time.sleep(0.01)
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            assert psutil.wait_procs(workers, timeout=10)[1] == []  # they die with their launcher
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("resuming from the saved state" in done.stderr) == interrupted
        digests.append(hashlib.sha256((output / "checkpoint/model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_processes_asked_to_end_may_save_longer_than_torchrun_waits(data: tuple[Path, Path], tmp_path: Path) -> None:
    """Asked to end while writing a state for 32 seconds, they finish it; torchrun would kill them after 30."""
    arguments = [*flags(*data, tmp_path, settings(epochs=400)), *DDP, "--save-seconds", 0, "--stop-seconds", 90]
    command = [sys.executable, str(slowly_saving(tmp_path, 32)), *map(str, arguments)]
    with (tmp_path / "log").open("w") as stderr:
        launcher = subprocess.Popen(command, stderr=stderr)
    states = tmp_path / "training_state"
    while not list(states.glob("*/.step-*1.tmp")):
        assert launcher.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=150) != 0
    assert [path.name for path in states.glob("*/step-*")] == ["step-00000001"]
    assert "the state after step 1 is saved" in (tmp_path / "log").read_text()


def slowly_saving(folder: Path, seconds: int) -> Path:
    """A copy of the program in which a save takes this much longer, as for a large model."""
    for name in ("scripts", "config/accelerate"):
        shutil.copytree(SCRIPTS.parent / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    states = folder / "scripts/rlhf/training/state/states.py"
    text = states.read_text()
    assert text.count("accelerator.save_state(") == 1
    states.write_text(text.replace("accelerator.save_state(", f"time.sleep({seconds}), accelerator.save_state("))
    return folder / "scripts/train_policy.py"
