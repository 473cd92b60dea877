"""The pipeline through profiles/slurm, on a Slurm that runs here, against local runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import patch
from project import WORLD, Project, copy_project, copy_with, programs
from rlhf.training.schema import TRAINING
from slurm_cluster import NEEDS_SLURM, SlurmCluster
from test_determinism import COMPARED, digest

pytestmark = NEEDS_SLURM

HERE = {
    "default-resources": {"slurm_partition": "main"},
    "slurm-no-account": True,
    "slurm-status-command": "squeue",  # there is no accounting
    "slurm-init-seconds-before-status-checks": 8,
    "latency-wait": 5,
}
"""What a user of this cluster fills in."""


CHECKPOINT = "results/micro/rebel-1/checkpoint"


@dataclass
class LongTraining:
    """A training that lasts long enough to be disturbed, and the digest of what it makes undisturbed."""

    project: Project
    expected: str

    @staticmethod
    def config(project: Project, **changes: Any) -> str:
        variants = {"rebel": {"loss": {"name": "rebel", "eta": 10.0}, "epochs": 400}}
        patches = {"variants": variants, "hardware.train_policy.save_seconds": 0, **changes}
        return project.write_config(patch(project.read_config(), patches), "long")

    def run_on(self, cluster: SlurmCluster, disturb: Callable[[], object], **changes: Any) -> None:
        """Submit it, disturb it once it has saved a state, and see it go on to the same weights."""
        running = start(cluster, self.project, CHECKPOINT, "--configfile", self.config(self.project, **changes))
        states = self.project.folder / "results/micro/rebel-1/training_state"
        while not list(states.glob("*/step-*")):
            assert running.poll() is None, running.communicate()[0]
            time.sleep(0.05)
        disturb()
        output = finish(running, 400)
        assert running.returncode == 0, output
        log = (self.project.folder / "logs/micro/train_policy/rebel-1.log").read_text()
        assert "resuming from the saved state" in log
        assert digest(self.project.folder / CHECKPOINT / "model.safetensors") == self.expected


@pytest.fixture(scope="module")
def undisturbed(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    project = Project(tmp_path_factory.mktemp("undisturbed") / "project")
    shutil.copytree(finished_micro.folder, project.folder)
    project.run(CHECKPOINT, configfile=LongTraining.config(project))
    return digest(project.folder / CHECKPOINT / "model.safetensors")


@pytest.fixture
def long_training(scratch_micro: Project, undisturbed: str) -> LongTraining:
    return LongTraining(fill_in(scratch_micro), undisturbed)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


def fill_in(project: Project) -> Project:
    """The profile as a user of this cluster has it."""
    path = project.folder / "profiles/slurm/config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **HERE}))
    return project


def start(cluster: SlurmCluster, project: Project, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *arguments]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(running: subprocess.Popen[str], seconds: float) -> str:
    """What Snakemake printed, at its end; past the time it is killed, and the test fails with that."""
    try:
        return running.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        running.kill()
        pytest.fail(f"it did not end in {seconds} s: {running.communicate()[0]}")


def test_the_micro_experiment_gives_the_bytes_of_a_local_run(
    cluster: SlurmCluster, finished_micro: Project, tmp_path: Path
) -> None:
    project = fill_in(copy_with(finished_micro, tmp_path / "project", WORLD))
    running = start(cluster, project, CHECKPOINT, "--configfile", "config/micro.yaml")
    output = finish(running, 600)
    assert running.returncode == 0, output
    results = [each.folder / "results/micro" for each in (finished_micro, project)]
    assert [name for name in COMPARED if digest(results[0] / name) != digest(results[1] / name)] == []
    assert list((project.folder / "logs/slurm").rglob("*.log"))


TWO_JOBS = """
rule all:
    input: "one", "two"

rule work:
    output: "{name}"
    resources: gpu=1, mem_mb=100, runtime=5
    shell:
        '''
        echo "$CUDA_VISIBLE_DEVICES" > {output}.device
        while [ ! -e one.device ] || [ ! -e two.device ]; do sleep 0.1; done
        cp {output}.device {output}
        '''
"""


def test_two_jobs_of_one_gpu_at_once_on_different_ones(cluster: SlurmCluster, tmp_path: Path) -> None:
    project = fill_in(copy_project(tmp_path / "project"))
    (project.folder / "Snakefile").write_text(TWO_JOBS)
    running = start(cluster, project)
    output = finish(running, 120)
    assert running.returncode == 0, output
    devices = [(project.folder / name).read_text().strip() for name in ("one", "two")]
    assert sorted(devices) in [[str(a), str(b)] for a in range(4) for b in range(a + 1, 4)]


def test_the_log_of_a_failed_job_is_shown(cluster: SlurmCluster, finished_micro: Project, tmp_path: Path) -> None:
    shutil.copytree(finished_micro.folder, tmp_path / "project")
    project = fill_in(Project(tmp_path / "project"))
    (project.folder / "broken.py").write_text("def score(prompts, responses):\n    raise RuntimeError('out of luck')\n")
    rewards = {"kind": "function", "function": "broken:score"}
    config = project.write_config(patch(project.read_config(), {"rewards": rewards}), "broken")
    target = "results/micro/base/rewards/test-000.parquet"
    running = start(cluster, project, "--configfile", config, "--retries", "0", target)
    output = finish(running, 180)
    assert running.returncode != 0
    assert "out of luck" in output


def test_a_cancelled_training_goes_on_in_its_retry(cluster: SlurmCluster, long_training: LongTraining) -> None:
    long_training.run_on(cluster, lambda: cluster.run("scancel", "--user", "root", "--state", "RUNNING"))


def test_a_training_at_its_time_limit_goes_on_in_its_retry(cluster: SlurmCluster, long_training: LongTraining) -> None:
    """It hangs until the limit of a minute, and hears no signal but the last."""

    def hang() -> None:
        for process in programs(long_training.project, "train_policy"):
            process.suspend()

    long_training.run_on(cluster, hang, **{"hardware.train_policy.runtime": 1, "hardware.train_policy.stop_seconds": 1})
    limits = cluster.run("squeue", "--states", "all", "--noheader", "--sort", "i", "--format", "%l").split()
    assert limits[-2:] in (["1:00", "2:00"], ["2:00", "3:00"])  # a busy machine may reach the second limit, too


def test_a_training_whose_node_dies_goes_on_on_another_one(long_training: LongTraining, tmp_path: Path) -> None:
    with SlurmCluster(tmp_path / "cluster", nodes=2) as two_nodes:

        def pull_the_plug() -> None:
            two_nodes.kill_node(two_nodes.run("squeue", "--noheader", "--state", "RUNNING", "--format=%N").strip())

        long_training.run_on(two_nodes, pull_the_plug)


def test_training_on_two_nodes_has_the_trajectory_of_one_process(finished_micro: Project, tmp_path: Path) -> None:
    """Two processes on each of two nodes, one job."""
    shutil.copytree(finished_micro.folder, tmp_path / "project")
    project = fill_in(Project(tmp_path / "project"))
    hardware = {"gpu": 0, "threads": 1, "mem_mb": 4000, "nodes": 2, "processes": 4, "strategy": "ddp"}
    config = project.write_config(patch(project.read_config(), {"hardware.train_policy": hardware}), "nodes")
    metrics = "results/micro/rebel-1/training.parquet"
    (project.folder / metrics).unlink()
    with SlurmCluster(tmp_path / "cluster", nodes=2) as two_nodes:
        running = start(two_nodes, project, "--configfile", config, "--retries", "0", metrics)
        output = finish(running, 300)
        used = two_nodes.folder.glob("slurmd-n*.log")
        assert all("launch task" in log.read_text() for log in used)
    assert running.returncode == 0, output
    found, expected = (TRAINING.read(each.folder / metrics).to_pylist() for each in (project, finished_micro))
    assert len(found) == len(expected) > 2
    for row, single in zip(found, expected, strict=True):
        for name, value in single.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), (row, name)
