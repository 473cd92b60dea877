"""A copy of the project in which a test runs Snakemake for real, and edits what it likes."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("Snakefile", "rules", "scripts", "config", "envs", "profiles")
Jobs = dict[str, set[str]]
"""Rule -> the policies of its jobs (an empty string for a rule without a policy)."""


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path
    python: str = sys.executable
    """The interpreter of the environment that Snakemake and the programs run in."""

    def snakemake(self, *arguments: str, configfile: str = "config/micro.yaml") -> subprocess.CompletedProcess[str]:
        command = [self.python, "-m", "snakemake", *arguments, "--configfile", configfile]
        if "--cores" not in arguments:
            command += ["--cores", "2"]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment)

    def run(self, *arguments: str, **options: str) -> None:
        """Run the pipeline; the test fails with its output where it does."""
        finished = self.snakemake(*arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    def planned(self, *arguments: str, **options: str) -> Jobs:
        """What a dry run would do."""
        finished = self.snakemake("--dry-run", *arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return jobs_in(finished.stdout + finished.stderr)

    def planned_outputs(self, *arguments: str, **options: str) -> set[str]:
        """The files that a dry run would make."""
        finished = self.snakemake("--dry-run", *arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        lines = re.findall(r"^    output: (.*)$", finished.stdout + finished.stderr, re.MULTILINE)
        return {path for line in lines for path in line.split(", ")}

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


def jobs_in(dry_run: str) -> Jobs:
    """The jobs that a dry run lists."""
    jobs: Jobs = {}
    for block in re.split(r"\n\[.*\]\n", dry_run):
        match = re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block)
        if match and match[1] != "all":
            policy = re.search(r"policy=([\w-]+)", block)
            jobs.setdefault(match[1], set()).add(policy[1] if policy else "")
    return jobs


def programs(project: Project, stage: str) -> list[psutil.Process]:
    """Processes of a stage's program in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if f"scripts/{stage}.py" in command[:3] and process.info["cwd"] == str(project.folder):
            found.append(process)
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.02)
