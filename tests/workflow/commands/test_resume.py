"""What of an earlier run still works: nothing goes on before it has ended."""

import os
import subprocess
from pathlib import Path

import pytest

from run_commands import run_command

LISTED = """\
Job Id: 4411.server
    Job_Name = train_policy
    Job_Owner = somebody@login
    job_state = {state}
    Resource_List.select = 1:ncpus=64:ngpus=8:mem=800000mb
    Variable_List = PBS_O_HOME=/home/somebody,PBS_O_LANG=en_US.UTF-8,PBS_O_HOST=login,
\tPBS_O_WORKDIR={first}
\t{rest},PBS_O_QUEUE=gpus
    project = _pbs_project_default

Job Id: 4412.server
    Job_Name = somewhere_else
    job_state = R
    Variable_List = PBS_O_WORKDIR=/elsewhere,PBS_O_QUEUE=gpus
"""
"""As `qstat -f` writes jobs, with its wrapped lines."""


def resumed(folder: Path, qstat: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`resume` in a folder without a Snakefile, with a `qstat` of such a script."""
    (folder / "bin").mkdir()
    (folder / "bin/qstat").write_text(f"#!/bin/sh\n{qstat}\n")
    (folder / "bin/qstat").chmod(0o755)
    return run_command("resume", *arguments, folder=folder, path=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def listing(folder: Path, state: str) -> str:
    (folder / "jobs").write_text(LISTED.format(state=state, first=str(folder)[:7], rest=str(folder)[7:]))
    return '[ "$*" = "-f" ] && cat jobs'


@pytest.mark.parametrize("state", ["R", "Q", "H", "E"])
def test_jobs_of_pbs_that_work_for_this_folder_stop_it(state: str, tmp_path: Path) -> None:
    done = resumed(tmp_path, listing(tmp_path, state))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "  train_policy, PBS job 4411.server: qdel 4411.server"
    assert "of the previous run are still running" in done.stderr


def test_jobs_that_have_ended_do_not(tmp_path: Path) -> None:
    done = resumed(tmp_path, listing(tmp_path, "F"))
    assert "of the previous run are still running" not in done.stderr


def test_a_pbs_that_does_not_answer_stops_a_run_that_was_submitted_to_it(tmp_path: Path) -> None:
    done = resumed(tmp_path, "echo 'cannot connect to server' >&2; exit 1", "--workflow-profile", "profiles/pbs")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: qstat does not list the jobs: cannot connect to server"


def test_without_a_cluster_nobody_is_asked_for_long(tmp_path: Path) -> None:
    done = resumed(tmp_path, "echo 'cannot connect to server' >&2; exit 1")
    assert "qstat does not list" not in done.stderr
