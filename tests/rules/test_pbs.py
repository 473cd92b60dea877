"""The profile for another scheduler: Snakemake's real plugin, and a `qsub` that starts what it is given."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from project import Project
from test_determinism import digest
from test_slurm_requests import NO_MORE_THAN_FILES, PUBLISHED, TRAINED, published

pytestmark = pytest.mark.slow

QSUB = """#!/bin/sh
for script; do :; done  # the last argument
echo "$@" >> qsub.calls
setsid sh "$script" > /dev/null 2>&1 &
echo "$!.server"
"""


def submitted(project: Project, target: str, configfile: str, *more: str) -> str:
    """The arguments of the one `qsub` of a run that makes the target."""
    (project.folder / "bin").mkdir()
    (project.folder / "bin/qsub").write_text(QSUB)
    (project.folder / "bin/qsub").chmod(0o755)
    flags = ["--configfile", configfile, "--workflow-profile", "profiles/pbs", "--latency-wait", "5", *more]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", target, *flags],
        cwd=project.folder,
        env={**os.environ, "PATH": f"{project.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (call,) = (project.folder / "qsub.calls").read_text().splitlines()
    return call


def test_the_command_asks_for_what_the_rule_declares(scratch_micro: Project, finished_micro: Project) -> None:
    project, part = scratch_micro, "results/micro/base/logprobs/test-000.parquet"
    (project.folder / part).unlink()
    call = submitted(project, part, "config/micro.yaml")
    asked = r"-N compute_logprobs .*-l select=1:ncpus=1:ngpus=0:mem=2000mb -l walltime=00:240:00 \S+\.sh$"
    assert re.search(asked, call), call
    assert digest(project.folder / part) == digest(finished_micro.folder / part)


def test_the_published_training_asks_for_its_gpus_and_all_their_cpus(tmp_path: Path) -> None:
    project = published(tmp_path / "project")
    call = submitted(project, str(TRAINED), f"config/{PUBLISHED}.yaml", *NO_MORE_THAN_FILES)
    asked = r"-N train_policy .*-l select=1:ncpus=64:ngpus=8:mem=800000mb -l walltime=00:1440:00 \S+\.sh$"
    assert re.search(asked, call), call
