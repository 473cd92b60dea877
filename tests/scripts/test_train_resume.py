"""A training that is killed resumes from its saved state, and ends with the same bytes."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rlhf.training.settings import RecipeSettings
from small_models import SCRIPTS
from training_inputs import flags, spec

STEPS = 240
LOG = "log"


def settings(**changes: Any) -> dict[str, Any]:
    made = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    recipe = RecipeSettings(batch_size=1, epochs=STEPS // 13 + 1, learning_rate=1e-3, validation_interval=50)
    return {**made, "recipe": recipe.model_dump(), **changes}


def start(data: tuple[Path, Path], output: Path, save_seconds: int, **changes: Any) -> subprocess.Popen[str]:
    arguments = [*flags(*data, output, settings(**changes)), "--save-seconds", save_seconds]
    command = [sys.executable, str(SCRIPTS / "train_policy.py"), *map(str, arguments)]
    output.mkdir(exist_ok=True)
    with (output / LOG).open("w") as log:  # a pipe that nobody reads would fill up and stop it
        return subprocess.Popen(command, stderr=log, text=True)


def finish(process: subprocess.Popen[str], output: Path) -> str:
    """Wait for its end; returns its log."""
    process.wait(timeout=200)
    errors = (output / LOG).read_text()
    assert process.returncode == 0, errors
    return errors


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def saved(output: Path) -> list[int]:
    """Steps of the complete states."""
    return sorted(int(path.name.removeprefix("step-")) for path in (output / "training_state").glob("*/step-*"))


def wait_for_step(process: subprocess.Popen[str], output: Path, step: int) -> None:
    while not any(number >= step for number in saved(output)):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)


def result(output: Path) -> list[str]:
    files = ["checkpoint/model.safetensors", "checkpoint/provenance.json", "checkpoint/README.md", "training.parquet"]
    return [hashlib.sha256((output / name).read_bytes()).hexdigest() for name in files]


@pytest.fixture(scope="module")
def uninterrupted(data: tuple[Path, Path]) -> list[str]:
    output = data[0] / "uninterrupted"
    errors = finish(start(data, output, save_seconds=10**6), output)
    assert "resuming" not in errors
    assert not (output / "training_state").exists()
    return result(output)


def test_killed_at_random_steps(data: tuple[Path, Path], uninterrupted: list[str], tmp_path: Path) -> None:
    steps = sorted(random.Random(time.time_ns()).sample(range(1, STEPS - 60), 3))
    print(f"killed at or after the steps {steps}")
    for step in steps:
        process = start(data, tmp_path, save_seconds=0)
        wait_for_step(process, tmp_path, step)
        kill(process)
        assert 1 <= len(saved(tmp_path)) <= 2
        assert not (tmp_path / "checkpoint").exists()
    newest = saved(tmp_path)[-1]
    assert f"resuming from the saved state after step {newest}" in finish(
        start(data, tmp_path, save_seconds=10**6), tmp_path
    )
    assert result(tmp_path) == uninterrupted
    assert saved(tmp_path) == [newest]  # until the workflow uses the checkpoint


def test_asked_to_end_it_saves_first(data: tuple[Path, Path], uninterrupted: list[str], tmp_path: Path) -> None:
    process = start(data, tmp_path, save_seconds=0)
    wait_for_step(process, tmp_path, 3)
    kill(process)
    before = saved(tmp_path)[-1]
    process = start(data, tmp_path, save_seconds=10**6)
    while "resuming from" not in (tmp_path / LOG).read_text():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=100) == 128 + signal.SIGTERM
    errors = (tmp_path / LOG).read_text()
    (after,) = set(saved(tmp_path)) - {before, before - 1}
    assert after > before
    assert f"the state after step {after} is saved" in errors
    finish(start(data, tmp_path, save_seconds=10**6), tmp_path)
    assert result(tmp_path) == uninterrupted


@pytest.mark.slow
def test_another_training_does_not_resume_from_it(data: tuple[Path, Path], tmp_path: Path) -> None:
    process = start(data, tmp_path, save_seconds=0)
    wait_for_step(process, tmp_path, 5)
    kill(process)
    errors = finish(start(data, tmp_path, save_seconds=10**6, seed=8), tmp_path)
    assert "resuming" not in errors
    assert not list(tmp_path.glob("training_state/*/step-*"))


def test_a_damaged_state_is_a_user_error(data: tuple[Path, Path], tmp_path: Path) -> None:
    process = start(data, tmp_path, save_seconds=0)
    wait_for_step(process, tmp_path, 5)
    kill(process)
    newest = max((tmp_path / "training_state").glob("*/step-*"))
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")  # changes the last weight
    process = start(data, tmp_path, save_seconds=10**6)
    assert process.wait(timeout=100) == 1
    last = (tmp_path / LOG).read_text().splitlines()[-1]
    assert last.startswith(f"error: {newest}: this saved state cannot be read")
    assert "`model.safetensors` is not as it was written" in last
    shutil.rmtree(newest)
    finish(start(data, tmp_path, save_seconds=10**6), tmp_path)


def test_an_incomplete_state_is_ignored(data: tuple[Path, Path], uninterrupted: list[str], tmp_path: Path) -> None:
    process = start(data, tmp_path, save_seconds=0)
    wait_for_step(process, tmp_path, 5)
    kill(process)
    newest = max((tmp_path / "training_state").glob("*/step-*"))
    before = saved(tmp_path)[-1]
    half = newest.with_name(f".step-{before + 1:08d}.tmp")  # the kill may have left one too
    shutil.copytree(newest, half, dirs_exist_ok=True)
    (half / "model.safetensors").unlink()
    assert f"after step {before}" in finish(start(data, tmp_path, save_seconds=10**6), tmp_path)
    assert result(tmp_path) == uninterrupted
