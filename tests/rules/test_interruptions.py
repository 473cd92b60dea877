"""A pull of the plug: what goes on, and that it ends with the bytes of a run that nobody disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import patch
from project import Project, programs, remove, wait_for
from small_disk import NEEDS_ROOT, SmallDisk
from test_determinism import digest

pytestmark = pytest.mark.slow

FLAGS = ("--cores", "2", "--configfile", "config/micro.yaml")
STAGES = {
    "collect_prompts": "prompts.parquet",
    "generate_responses": "base/responses/train-000.parquet",
    "score_responses": "base/rewards/train-000.parquet",
    "build_pairs": "base/pairs/train-000.parquet",
    "compute_logprobs": "base/logprobs/train-000.parquet",
    "train_policy": "rebel-1/checkpoint",
    "evaluate_policy": "rebel-1/evaluation.parquet",
    "report": "report",
}
"""An output of each stage, under results/micro/."""


def start(project: Project, target: str) -> subprocess.Popen[bytes]:
    """Snakemake in a process group of its own, as in a terminal."""
    command = [sys.executable, "-m", "snakemake", f"results/micro/{target}", *FLAGS]
    with (project.folder / "output").open("wb") as output:
        return subprocess.Popen(command, cwd=project.folder, stdout=output, stderr=output, start_new_session=True)


def resume(project: Project, target: str) -> subprocess.CompletedProcess[str]:
    return project.command("resume", f"results/micro/{target}", *FLAGS)


def digests(path: Path) -> dict[str, str]:
    """Of a file, or of all files of a folder but Snakemake's own."""
    files = sorted(path.rglob("[!.]*")) if path.is_dir() else [path]
    return {str(file.relative_to(path.parent)): digest(file) for file in files if file.is_file()}


def assert_as_if_undisturbed(project: Project, finished_micro: Project, stage: str) -> None:
    found, expected = (digests(each.folder / "results/micro" / STAGES[stage]) for each in (project, finished_micro))
    assert found == expected != {}
    policy = STAGES[stage].split("/")[0] if "/" in STAGES[stage] else ""
    assert policy not in project.planned().get(stage, set())  # a new checkpoint's children run again


VICTIMS = ("job", "snakemake", "both")
KILLED = [("train_policy", victim) for victim in VICTIMS] + [
    (stage, VICTIMS[number % 3]) for number, stage in enumerate(STAGES) if stage != "train_policy"
]
"""Everybody at the stage that takes longest, and somebody at each of the others."""


@pytest.mark.parametrize(("stage", "victim"), KILLED)
def test_kill_9(stage: str, victim: str, scratch_micro: Project, finished_micro: Project) -> None:
    project, target = scratch_micro, STAGES[stage]
    remove(project.folder / "results/micro" / target)
    running = start(project, target)
    wait_for(lambda: programs(project, stage), f"job of {stage}")
    jobs = programs(project, stage)
    if victim != "job":
        running.kill()
    if victim != "snakemake":
        for job in jobs:
            job.kill()
    running.wait()
    if victim == "snakemake":
        refused = resume(project, target)
        assert refused.returncode == 1, "the job ended before it could be seen"
        assert f"{stage}, process {jobs[0].pid}: kill {jobs[0].pid}" in refused.stderr
        wait_for(lambda: not programs(project, stage), "end of the job that survived")
    done = resume(project, target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_as_if_undisturbed(project, finished_micro, stage)


def test_control_c(scratch_micro: Project, finished_micro: Project) -> None:
    project, target = scratch_micro, STAGES["score_responses"]
    remove(project.folder / "results/micro" / target)
    running = start(project, target)
    wait_for(lambda: programs(project, "score_responses"), "job")
    os.killpg(running.pid, signal.SIGINT)
    running.wait(timeout=60)
    assert programs(project, "score_responses") == []
    project.run(f"results/micro/{target}")  # plain Snakemake goes on
    assert_as_if_undisturbed(project, finished_micro, "score_responses")


def test_results_move_with_snakemakes_records(finished_micro: Project, tmp_path: Path) -> None:
    """To another machine or folder, with their times: nothing is computed again, and a later edit is noticed."""
    shutil.copytree(finished_micro.folder, tmp_path / "moved")
    moved = Project(tmp_path / "moved")
    assert moved.planned() == {}
    config = moved.write_config(patch(moved.read_config(), {"training.learning_rate": 2e-3}), "edited")
    assert set(moved.planned(configfile=config)) >= {"train_policy"}


@NEEDS_ROOT
def test_a_full_disk(scratch_micro: Project, finished_micro: Project) -> None:
    """Nothing half-written stays, the message says what is full, and with room the same line goes on."""
    project, target = scratch_micro, STAGES["compute_logprobs"]
    path, expected = (each.folder / "results/micro" / target for each in (project, finished_micro))
    folder = path.parent
    shutil.rmtree(folder)
    folder.mkdir()
    with SmallDisk(folder, size="4k") as disk:
        (folder / "filler").write_bytes(bytes(4096))
        done = project.snakemake(f"results/micro/{target}")
        assert done.returncode != 0
        assert "Free some space on the disk or in the quota" in done.stdout + done.stderr
        assert [path.name for path in folder.iterdir()] == ["filler"]
        disk.resize("100m")
        project.run(f"results/micro/{target}")
        assert digests(path) == digests(expected)
