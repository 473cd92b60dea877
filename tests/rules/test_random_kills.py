"""Kills at random moments, many of them in the last second of a training: the end is as if there had been none.

`KILLED_RUNS=40 pytest -m slow tests/rules/test_random_kills.py` for more runs; each prints its seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from project import WORLD, Project, copy_with, programs, wait_for
from test_interruptions import digests, resume, start

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("KILLED_RUNS", "1"))
"""The first of every four is killed in the last second of a training."""
KILLS = 3
"""In each run."""
SECONDS = 30
"""Of a random kill, after the start: the stages behind the tiny world take about as long."""
RESULTS = Path("results/micro")
TARGET = "rebel-1/evaluation.parquet"
POLICY = RESULTS / "rebel-1"
LEFTOVER = re.compile(r"\.tmp|\.removed|training_state|^claim$")


def saved(project: Project) -> int:
    """The step of the newest state of the training; 0 where there is none."""
    states = (project.folder / POLICY).glob("training_state/*/step-*")
    return max((int(path.name.removeprefix("step-")) for path in states), default=0)


def wait_for_the_end_of_training(project: Project, running: subprocess.Popen[bytes]) -> None:
    """Until its checkpoint is being written, or the run ends."""
    while running.poll() is None and not list((project.folder / POLICY).glob(".checkpoint.*")):
        time.sleep(0.002)


def kill(running: subprocess.Popen[bytes], victim: str) -> None:
    """Kill Snakemake, its jobs, or both at once, and wait for the ends of all."""
    jobs = psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
    if victim != "jobs":
        running.kill()
    if victim != "snakemake":
        for job in jobs:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                job.kill()
    running.wait()
    psutil.wait_procs(jobs, timeout=120)


def to_run_again(finished_micro: Project, folder: Path, *results: str) -> Project:
    """The micro experiment with some results alone, and a training that saves its state after every step."""
    project = copy_with(finished_micro, folder, *results)
    config = project.read_config()
    config["hardware"]["train_policy"]["save_seconds"] = 0
    project.write_config(config, "micro")
    return project


def test_between_the_end_of_a_training_and_its_record(finished_micro: Project, tmp_path: Path) -> None:
    """Snakemake makes the policy again, from the last saved state, and the state goes when the policy is used."""
    project = to_run_again(finished_micro, tmp_path / "project", WORLD, "prompts.parquet", "base")
    running = start(project, TARGET)
    wait_for(lambda: programs(project, "train_policy"), "training", 300)
    running.send_signal(signal.SIGSTOP)  # it sees nothing of the training's end
    wait_for(lambda: (project.folder / POLICY / "training.parquet").exists(), "end of the training")
    wait_for(lambda: not programs(project, "train_policy"), "end of the job")
    step = saved(project)
    running.kill()
    running.wait()
    done = resume(project, TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (project.folder / "logs/micro/train_policy/rebel-1.log").read_text()
    assert f"resuming from the saved state after step {step}\n" in log
    assert digests(project.folder / POLICY / "checkpoint") == digests(finished_micro.folder / POLICY / "checkpoint")
    assert not (project.folder / POLICY / "training_state").exists()


@pytest.mark.parametrize("number", range(RUNS))
def test_a_run_that_is_killed_now_and_then(number: int, finished_micro: Project, tmp_path: Path) -> None:
    chance, aimed = random.Random(seed := random.SystemRandom().randrange(10**9)), number % 4 == 0
    print(f"seed {seed}, killed {'at the end of the training' if aimed else 'at any time'}")
    project = to_run_again(finished_micro, tmp_path / "project", WORLD)
    for _ in range(KILLS):
        running = start(project, TARGET)
        if aimed:
            wait_for_the_end_of_training(project, running)
        time.sleep(chance.uniform(0, 1) if aimed else chance.uniform(1, SECONDS))
        kill(running, chance.choice(["jobs", "snakemake", "both"]))
        step, whole = saved(project), (project.folder / POLICY / "training.parquet").exists()
        print(f"killed with a state of step {step}, {'after' if whole else 'before'} the end of the training")
    done = resume(project, TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (project.folder / "logs/micro/train_policy/rebel-1.log").read_text()
    print(*(line for line in log.splitlines() if "resuming" in line))
    if step and not whole:
        assert f"resuming from the saved state after step {step}" in log
    folders = [each.folder / RESULTS for each in (project, finished_micro)]
    found, expected = (digests(folder) for folder in folders)
    assert found == {name: expected[name] for name in found} != {}
    assert f"micro/{TARGET}" in found
    assert [path for path in folders[0].rglob("*") if LEFTOVER.search(path.name)] == []
