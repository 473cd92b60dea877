"""One of several processes dies: the others do not wait for it, its error is shown, and the retry resumes."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.training.settings import RecipeSettings
from small_models import SCRIPTS
from training_inputs import flags, spec

pytestmark = pytest.mark.slow

STEP = "            if states:\n"
"""A line of the loop, after each step."""
RAISES = """\
            if accelerator.process_index == 1 and step == 3:
                raise RuntimeError("of its own")
"""
HANGS = """\
            from pathlib import Path
            if accelerator.process_index == 0 and step == 4 and Path(__file__).parents[3].joinpath("hang").exists():
                import time
                time.sleep(1000)
"""
"""As in a collective operation of NCCL, which waits for a dead process and ignores SIGTERM."""


def started(data: tuple[Path, Path], folder: Path, strategy: str, code: str = "") -> subprocess.Popen[bytes]:
    """Start a copy of the program with some code after each step."""
    for name in ("scripts", "config/accelerate"):
        shutil.copytree(
            SCRIPTS.parent / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
    loop = folder / "scripts/rlhf/training/loop.py"
    text = (SCRIPTS / "rlhf/training/loop.py").read_text()
    assert text.count(STEP) == 1
    loop.write_text(text.replace(STEP, code + STEP))
    recipe = RecipeSettings(batch_size=2, epochs=4, learning_rate=1e-3, validation_interval=50)
    made: dict[str, Any] = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    settings = {**made, "recipe": recipe.model_dump()}
    arguments = [*flags(*data, folder / "output", settings), "--processes", 2, "--strategy", strategy]
    command = [sys.executable, str(folder / "scripts/train_policy.py"), *map(str, arguments), "--save-seconds", "0"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stderr=log)


def workers(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """In the order of their ranks."""
    found = {
        process.environ()["RANK"]: process
        for process in psutil.Process(launcher.pid).children(recursive=True)
        if "RANK" in process.environ()
    }
    return [found[rank] for rank in sorted(found)]


def wait_for_state(launcher: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    while not list((folder / "output/training_state").glob(f"*/step-{step:08d}")):
        assert launcher.poll() is None, (folder / "log").read_text()
        time.sleep(0.01)


def test_its_own_error_is_shown(data: tuple[Path, Path], tmp_path: Path) -> None:
    assert started(data, tmp_path, "zero3", RAISES).wait(timeout=200) == 1
    said = (tmp_path / "log").read_text()
    assert said.splitlines()[-1] == "error: process 1 of the training failed: RuntimeError: of its own"


def test_the_others_are_stopped_within_a_minute(data: tuple[Path, Path], tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    hang.touch()
    launcher = started(data, tmp_path, "ddp", HANGS)
    wait_for_state(launcher, tmp_path, 3)
    time.sleep(1)
    both = workers(launcher)
    both[1].kill()
    begun = time.monotonic()
    assert launcher.wait(timeout=70) == 1
    assert time.monotonic() - begun < 60
    assert psutil.wait_procs(both, timeout=10)[1] == []
    said = (tmp_path / "log").read_text()
    assert said.splitlines()[-1].startswith("error: process 1 of the training was killed (SIGKILL)")
    hang.unlink()
    again = started(data, tmp_path, "ddp", HANGS)
    assert again.wait(timeout=200) == 0
    assert "resuming from the saved state after step 3" in (tmp_path / "log").read_text()
