"""A training that Slurm asks to end saves its state, however long that takes, and its retry goes on from there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments import patch
from project import Project, wait_for
from slurm_cluster import NEEDS_SLURM, SlurmCluster
from test_slurm import CHECKPOINT, fill_in, finish, start

pytestmark = NEEDS_SLURM

LOG = "logs/micro/train_policy/rebel-1.log"
SAVE_TAKES = 6
"""Seconds; three times as long as this cluster waits between the last signals to a job (KillWait)."""
SLOWED_DOWN = {
    "accelerator.save_state(": f"time.sleep({SAVE_TAKES}), accelerator.save_state(",
    "if not agreed(": "time.sleep(0 if self._saved() else 1)\n        if not agreed(",
}
"""In `training_state.py`: saves last, as those of a large model do, and so do the steps before the first of them."""


def slow_training(finished_micro: Project, folder: Path, nodes: int, minutes: int) -> Project:
    """Two processes on each of so many nodes, and no saves but those that a signal asks for."""
    shutil.copytree(finished_micro.folder, folder)
    project = fill_in(Project(folder))
    (folder / LOG).unlink()
    states = folder / "scripts/rlhf/training/state/states.py"
    for text, slow in SLOWED_DOWN.items():
        assert states.read_text().count(text) == 1
        states.write_text(states.read_text().replace(text, slow))
    hardware = {"gpu": 0, "mem_mb": 4000, "processes": 2 * nodes, "nodes": nodes, "strategy": "ddp"}
    hardware |= {"save_seconds": 10**6, "stop_seconds": 15, "runtime": minutes}
    variants = {"rebel": {"loss": {"name": "rebel", "eta": 10.0}, "epochs": 100}}
    changes = {"hardware.train_policy": hardware, "variants": variants}
    project.write_config(patch(project.read_config(), changes), "slow")
    return project


def goes_on(project: Project, running: subprocess.Popen[str]) -> None:
    """Its retry makes the policy from the state that the signal saved, and no job ended before its training did."""
    output = finish(running, 600)
    assert running.returncode == 0, output
    saved = re.search(r"asked to end: the state after step (\d+) is saved", output)
    assert saved, output
    # Where Slurm tracks processes by cgroups, a job that ends first takes the training along, in the midst of its save.
    assert "died with <Signals.SIGTERM" not in output
    log = (project.folder / LOG).read_text()
    assert f"going on from the saved state after step {saved[1]}\n" in log


def test_before_its_time_limit(finished_micro: Project, tmp_path: Path) -> None:
    project = slow_training(finished_micro, tmp_path / "project", nodes=1, minutes=2)
    with SlurmCluster(tmp_path / "cluster") as cluster:
        goes_on(project, start(cluster, project, CHECKPOINT, "--configfile", "config/slow.yaml"))
        jobs = cluster.run(
            "squeue", "--states", "all", "--noheader", "--sort", "i", "--format", "%l %m %T"
        ).splitlines()
        assert jobs == ["2:00 4000M FAILED", "4:00 4000M COMPLETED"]  # not TIMEOUT: it was done before


@pytest.mark.parametrize("nodes", [1, 2])
def test_by_a_signal_alone(nodes: int, finished_micro: Project, tmp_path: Path) -> None:
    project = slow_training(finished_micro, tmp_path / "project", nodes, minutes=30)
    with SlurmCluster(tmp_path / "cluster", nodes) as cluster:
        running = start(cluster, project, CHECKPOINT, "--configfile", "config/slow.yaml")
        log = project.folder / LOG
        wait_for(lambda: log.exists() and "training rebel-1" in log.read_text(), "step", seconds=300)
        cluster.run("scancel", "--signal=TERM", "--user", "root")
        goes_on(project, running)
