"""Resume after an interruption: check that nothing of the old run is still running, unlock the folder, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from command_line import run, takes_arguments_of_snakemake
from rlhf.base.errors import UserError
from workflow.planning.configuration_files import check_configuration_files

PBS_NAME = re.compile(r"^    Job_Name = (.+)$", re.MULTILINE)
PBS_STATE = re.compile(r"^    job_state = (.)$", re.MULTILINE)
PBS_FOLDER = re.compile(r"PBS_O_WORKDIR=([^,\n]+)")
"""Of where `qsub` was called, in the job's `Variable_List`."""
PBS_ENDED = ("C", "F")
"""States of jobs that PBS lists after their end."""


def main() -> None:
    arguments = takes_arguments_of_snakemake(__doc__)
    check_configuration_files(arguments)
    survivors = [*local_survivors(Path.cwd()), *slurm_survivors(Path.cwd()), *pbs_survivors(Path.cwd())]
    if survivors:
        raise UserError(
            "these jobs of the previous run are still running; wait for them or end them, then resume:\n"
            + "\n".join(f"  {survivor}" for survivor in survivors)
        )
    snakemake = [sys.executable, "-m", "snakemake", *arguments]
    if subprocess.run([*snakemake, "--unlock", "--quiet", "all"]).returncode:
        raise UserError("Snakemake could not unlock the folder; see its message above")
    os.execv(sys.executable, [*snakemake, "--rerun-incomplete"])


def local_survivors(folder: Path) -> list[str]:
    """This user's processes that run Snakemake or a program of the pipeline in `folder`, and how to end each."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        command, cwd = process.info["cmdline"] or [], process.info["cwd"]
        name = pipeline_program(command)
        if name and cwd and Path(cwd).resolve() == folder.resolve() and process.pid != os.getpid():
            found.append(f"{name}, process {process.pid}: kill {process.pid}")
    return found


def pipeline_program(command: list[str]) -> str | None:
    """`snakemake`, or the name of the program in `scripts/` that a command line runs; else None."""
    for argument in command[:4]:
        path = Path(argument)
        if path.name == "snakemake":
            return "snakemake"
        if path.suffix == ".py" and path.parent.name == "scripts":
            return path.stem
    return None


def slurm_survivors(folder: Path) -> list[str]:
    """This user's queued and running Slurm jobs for `folder`, and how to end each."""
    if shutil.which("squeue") is None:
        return []
    columns = "%i|%T|%k|%Z"  # number, state, comment (Snakemake's plugin puts the rule there), working folder
    listed = asked("slurm", ["squeue", "--me", "--noheader", f"--format={columns}"])
    jobs = (line.split("|") for line in listed.splitlines())
    return [
        f"{comment}, Slurm job {number} ({state.lower()}): scancel {number}"
        for number, state, comment, workdir in jobs
        if Path(workdir).resolve() == folder.resolve()
    ]


def pbs_survivors(folder: Path) -> list[str]:
    """Queued and running PBS jobs for `folder`, and how to end each."""
    if shutil.which("qstat") is None:
        return []
    found = []
    for job in asked("pbs", ["qstat", "-f"]).split("Job Id: ")[1:]:
        job = job.replace("\n\t", "")  # long values go on in the next line
        number, state, name = job.split()[0], PBS_STATE.search(job), PBS_NAME.search(job)
        workdir = PBS_FOLDER.search(job)
        if workdir and Path(workdir[1]).resolve() == folder.resolve() and not (state and state[1] in PBS_ENDED):
            found.append(f"{name[1] if name else 'a job'}, PBS job {number}: qdel {number}")
    return found


def asked(scheduler: str, command: list[str]) -> str:
    """The output of a scheduler's command; empty if the command is installed but there is no cluster.

    Raises:
        UserError: it does not answer, and jobs of this folder were submitted to it.
    """
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode == 0:
        return listed.stdout
    if any(scheduler in argument for argument in sys.argv[1:]) or Path("logs", scheduler).exists():
        raise UserError(f"{command[0]} does not list the jobs: {listed.stderr.strip()}")
    return ""


if __name__ == "__main__":
    run(main)
