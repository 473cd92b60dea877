"""The profile for another scheduler: Snakemake's real plugin, and a `qsub` that starts what it is given."""

import os
import re
import subprocess
import sys

import pytest
from test_determinism import digest
from workflow import Project

pytestmark = pytest.mark.slow

QSUB = """#!/bin/sh
for script; do :; done  # the last argument
echo "$@" >> qsub.calls
setsid sh "$script" > /dev/null 2>&1 &
echo "$!.server"
"""


def test_the_command_asks_for_what_the_rule_declares(scratch_micro: Project, finished_micro: Project) -> None:
    project, part = scratch_micro, "results/micro/base/logprobs/test-000.parquet"
    (project.folder / part).unlink()
    (project.folder / "bin").mkdir()
    (project.folder / "bin/qsub").write_text(QSUB)
    (project.folder / "bin/qsub").chmod(0o755)
    flags = ["--configfile", "config/micro.yaml", "--workflow-profile", "profiles/pbs", "--latency-wait", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", part, *flags],
        cwd=project.folder,
        env={**os.environ, "PATH": f"{project.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (call,) = (project.folder / "qsub.calls").read_text().splitlines()
    asked = r"-N compute_logprobs .*-l select=1:ncpus=1:ngpus=0:mem=2000mb -l walltime=00:240:00 \S+\.sh$"
    assert re.search(asked, call), call
    assert digest(project.folder / part) == digest(finished_micro.folder / part)
