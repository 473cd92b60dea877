"""Go on after an interruption: see that nothing of the killed run still works, unlock, run (snakemake's arguments)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from command_line import run
from rlhf.errors import UserError


def main() -> None:
    survivors = [*local_survivors(Path.cwd()), *slurm_survivors(Path.cwd())]
    if survivors:
        raise UserError(
            "of the run before, these still work here; wait for them, or end them, and resume then:\n"
            + "\n".join(f"  {survivor}" for survivor in survivors)
        )
    snakemake = [sys.executable, "-m", "snakemake", *sys.argv[1:]]
    if subprocess.run([*snakemake, "--unlock", "--quiet", "all"]).returncode:
        raise UserError("Snakemake could not unlock the folder: its message stands above")
    os.execv(sys.executable, [*snakemake, "--rerun-incomplete"])


def local_survivors(folder: Path) -> list[str]:
    """Processes of this user that run Snakemake, or a program of the pipeline, in `folder`; how to end each."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        command, cwd = process.info["cmdline"] or [], process.info["cwd"]
        name = pipeline_program(command)
        if name and cwd and Path(cwd).resolve() == folder.resolve() and process.pid != os.getpid():
            found.append(f"{name}, process {process.pid}: kill {process.pid}")
    return found


def pipeline_program(command: list[str]) -> str | None:
    """`snakemake` or the name of a program in scripts/, where a command line is that of one."""
    for argument in command[:4]:
        path = Path(argument)
        if path.name == "snakemake":
            return "snakemake"
        if path.suffix == ".py" and path.parent.name == "scripts" and path.name != Path(__file__).name:
            return path.stem
    return None


def slurm_survivors(folder: Path) -> list[str]:
    """Jobs of this user that Slurm holds or runs for `folder`; how to end each."""
    if shutil.which("squeue") is None:
        return []
    columns = "%i|%T|%k|%Z"  # number, state, comment (Snakemake's plugin puts the rule there), working folder
    listed = subprocess.run(["squeue", "--me", "--noheader", f"--format={columns}"], capture_output=True, text=True)
    if listed.returncode != 0 and not submitted_to_slurm():
        return []  # squeue is installed, and there is no cluster
    if listed.returncode != 0:
        raise UserError(f"squeue does not list the jobs: {listed.stderr.strip()}")
    jobs = (line.split("|") for line in listed.stdout.splitlines())
    return [
        f"{comment}, Slurm job {number} ({state.lower()}): scancel {number}"
        for number, state, comment, workdir in jobs
        if Path(workdir).resolve() == folder.resolve()
    ]


def submitted_to_slurm() -> bool:
    """Whether the arguments, or logs of earlier jobs, name Slurm."""
    return any("slurm" in argument for argument in sys.argv[1:]) or Path("logs/slurm").exists()


if __name__ == "__main__":
    run(main)
