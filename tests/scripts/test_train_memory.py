"""One of several processes runs out of memory: all start again, with the smaller budget that it saved."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.training.schema import TRAINING
from rlhf.training.settings import RecipeSettings
from small_models import SCRIPTS
from training_inputs import flags, spec

pytestmark = pytest.mark.slow
SUPPORT = Path(__file__).parents[1] / "support"
LIMIT = 60
"""Tokens that fit into the memory of process 1: a few pairs, but less than its half of a batch."""
AGAIN = "starting all processes again with the smaller token budget"
LIMITED = """
import os
if os.environ.get("RANK") == "1":
    import pytest
    from limited_memory import LimitedMemory
    LimitedMemory({limit}, {where!r}, {full_from}).install(pytest.MonkeyPatch())
"""
"""A `sitecustomize`, which Python runs at its start."""
Rows = list[dict[str, Any]]


def command(data: tuple[Path, Path], output: Path, *more: object, epochs: int = 4) -> list[str]:
    recipe = RecipeSettings(batch_size=8, epochs=epochs, learning_rate=1e-3, validation_interval=2)
    made = {**spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32"), "recipe": recipe.model_dump()}
    return [sys.executable, str(SCRIPTS / "train_policy.py"), *map(str, [*flags(*data, output, made), *more])]


def environment(folder: Path, limit: int, where: str = "forward", full_from: int = 0) -> dict[str, str]:
    """An environment in which the packs of process 1 do not fit, see `LimitedMemory`."""
    (folder / "sitecustomize.py").write_text(LIMITED.format(limit=limit, where=where, full_from=full_from))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [folder, SUPPORT, SCRIPTS]))}


@pytest.fixture(scope="module")
def small(data: tuple[Path, Path]) -> Rows:
    """The metrics of a single process with a small budget."""
    output = data[0] / "small"
    done = subprocess.run(command(data, output, "--token-budget", LIMIT // 2), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return TRAINING.read(output / "training.parquet").to_pylist()


@pytest.mark.parametrize(
    ("strategy", "where", "full_from", "budgets"),
    [("ddp", "forward", 0, ["75", "37"]), ("zero3", "backward", 4, ["51"])],
    ids=["ddp, check at the start", "zero3, second step, backward"],
)
def test_the_trajectory_is_that_of_a_smaller_budget(
    strategy: str,
    where: str,
    full_from: int,
    budgets: list[str],
    small: Rows,
    data: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """Each budget is half of the largest pack that was tried."""
    line = command(data, tmp_path, "--processes", 2, "--strategy", strategy, "--save-seconds", 0)
    done = subprocess.run(line, capture_output=True, text=True, env=environment(tmp_path, LIMIT, where, full_from))
    assert done.returncode == 0, done.stderr
    for row, expected in zip(TRAINING.read(tmp_path / "training.parquet").to_pylist(), small, strict=True):
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), name
    assert re.findall(r"a token budget of (\d+) instead of", done.stderr) == budgets
    assert done.stderr.count(AGAIN) == len(budgets)
    assert ("resuming from the saved state" in done.stderr) == (full_from > 0)
    assert len(list(tmp_path.glob("training_state/*/step-*"))) == 1


def test_another_failure_is_final(data: tuple[Path, Path], tmp_path: Path) -> None:
    """The packs of the smallest budget do not fit: a user error in one of the processes.

    The first pack fits: it is that of `pack_check`, which does not depend on the budget.
    """
    line = command(data, tmp_path, "--processes", 2, "--strategy", "ddp", "--token-budget", 1)
    done = subprocess.run(line, capture_output=True, text=True, env=environment(tmp_path, 1, full_from=1))
    assert done.returncode == 1
    said = "memory ran out (CUDA out of memory), and packs cannot be smaller: the longest has"
    error, last = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {said}")
    assert re.match(rf"error: process \d of the training failed: {re.escape(said)}", last)
    assert last == done.stderr.splitlines()[-1]
    assert AGAIN not in done.stderr
    assert not list(tmp_path.glob("training_state/*/token_budget.json"))


@pytest.mark.parametrize("whom", ["launcher", "everybody"])
def test_processes_that_are_asked_to_end_save_and_do_not_start_again(
    whom: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    line = command(data, tmp_path, "--processes", 2, "--strategy", "ddp", "--save-seconds", 0, epochs=2000)
    with (tmp_path / "log").open("w") as log:
        launcher = subprocess.Popen(line, stderr=log)
    while not list(tmp_path.glob("training_state/*/step-*")):
        assert launcher.poll() is None
        time.sleep(0.05)
    workers = psutil.Process(launcher.pid).children()
    assert len(workers) == 2
    for process in [*(workers if whom == "everybody" else []), launcher]:
        process.send_signal(signal.SIGTERM)
    status, written = launcher.wait(timeout=60), (tmp_path / "log").read_text()
    assert status == 1, written
    assert not any(worker.is_running() for worker in workers)
    assert written.splitlines()[-1].startswith("error: asked to end (SIGTERM). Run the same command again")
    assert "asked to end: the state after step" in written
    assert AGAIN not in written
