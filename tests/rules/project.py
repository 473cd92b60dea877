"""A copy of the project in which a test runs Snakemake for real, and edits what it likes."""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from run_commands import run_command
from warm_python import warm_python
from workflow.dry_run import PlannedJob

FORK_SERVER = multiprocessing.get_context("forkserver")
"""A process with Snakemake loaded, and nothing of the project: each plan is made in a fork of it, in half the time."""
FORK_SERVER.set_forkserver_preload(["snakemake.cli", "pydantic"])

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("Snakefile", "workflow", "rules", "scripts", "config", "envs", "profiles")
Jobs = dict[str, set[str]]
"""Rule -> the policies of its jobs (an empty string for a rule without a policy)."""


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path
    python: str | None = None
    """The interpreter of another environment that Snakemake and the programs run in."""

    def snakemake(self, *arguments: str, configfile: str = "config/micro.yaml") -> subprocess.CompletedProcess[str]:
        """Run Snakemake; the programs start warm, see `warm_python`."""
        command = [str(self.python or warm_python()), "-m", "snakemake", *arguments, "--configfile", configfile]
        if "--cores" not in arguments:
            command += ["--cores", "2"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def run(self, *arguments: str, **options: str) -> None:
        """Run the pipeline; the test fails with its output where it does."""
        finished = self.snakemake(*arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the commands about runs: `plan`, `resume`, `accept`."""
        return run_command(name, *arguments, folder=self.folder, scripts=self.folder / "scripts")

    def planned(self, *arguments: str, **options: str) -> Jobs:
        """The jobs that Snakemake would run."""
        jobs: Jobs = {}
        for job in self.planned_jobs(*arguments, **options):
            jobs.setdefault(job.rule, set()).add(job.policy)
        return jobs

    def planned_outputs(self, *arguments: str, **options: str) -> set[str]:
        """The files that Snakemake would make."""
        return {str(path) for job in self.planned_jobs(*arguments, **options) for path in job.outputs}

    def planned_jobs(self, *arguments: str, configfile: str = "config/micro.yaml") -> list[PlannedJob]:
        """What Snakemake would run; the test fails with what it says where it cannot plan."""
        with ProcessPoolExecutor(1, mp_context=FORK_SERVER) as fork:
            return fork.submit(plan_in, self.folder, [*arguments, "--configfile", configfile, "--cores", "2"]).result()

    def read_config(self, name: str = "micro") -> dict[str, Any]:
        return yaml.safe_load((self.folder / "config" / f"{name}.yaml").read_text())

    def write_config(self, config: dict[str, Any], name: str) -> str:
        """Write an experiment file; returns its path for `--configfile`."""
        (self.folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return f"config/{name}.yaml"


def copy_project(folder: Path) -> Project:
    """Copy the project's files into `folder`, which need not be there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return Project(folder)


WORLD = "world"
"""The tiny world: what an experiment of real data has from elsewhere."""


def copy_with(finished: Project, folder: Path, *results: str) -> Project:
    """A copy of a finished micro experiment with some of its results alone, as if the others had not been made."""
    shutil.copytree(finished.folder, folder)
    for path in (folder / "results/micro").iterdir():
        if path.name not in results:
            remove(path)
    return Project(folder)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def plan_in(folder: Path, arguments: list[str]) -> list[PlannedJob]:
    """Snakemake's plan in the folder of a project, by the project's own modules, for a process of its own."""
    os.chdir(folder)
    sys.dont_write_bytecode = True  # a test may edit a module twice in a second
    own = {path.stem for path in (folder / "scripts").iterdir()}
    for module in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[module]  # this repository's
    sys.path.insert(0, str(folder / "scripts"))
    from workflow.dry_run import planned_jobs

    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            return planned_jobs(arguments)
        except SystemExit:
            raise AssertionError(said.getvalue()) from None


def start_run(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start Snakemake in a process group of its own, its programs as users start them."""
    command = [project.python or sys.executable, "-m", "snakemake", *arguments, "--cores", "2"]
    return subprocess.Popen(
        command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish_run(run: subprocess.Popen[str]) -> str:
    """What a run prints; the test fails with it where the run does."""
    output, _ = run.communicate()
    assert run.returncode == 0, output
    return output


def kill_run(run: subprocess.Popen[str]) -> None:
    """kill -9 of its process group."""
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def journaled(project: Project, name: str) -> int:
    """Answers in a journal of the experiment."""
    return sum(path.read_bytes().count(b"\n") for path in (project.folder / "results/micro" / name).glob("*.jsonl"))


def is_settled(project: Project, name: str, answered: Callable[[], int]) -> bool:
    """Whether the journal holds all that was answered, and nothing was on its way for a second."""
    before = answered()
    time.sleep(1)
    return before == answered() <= journaled(project, name)


def programs(project: Project, stage: str) -> list[psutil.Process]:
    """Processes of a stage's program in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        program = str(project.folder / f"scripts/{stage}.py")
        if program in command[:3] and process.info["cwd"] == str(project.folder):
            found.append(process)
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.02)
