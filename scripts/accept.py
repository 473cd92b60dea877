"""Accept results as they are: after a harmless change of code or libraries, or where Snakemake's records are lost.

Takes the arguments of snakemake. One job of each changed stage and variant is done again, aside, and compared; where
all are equal, Snakemake is told that the results belong to the code as it is now. Nothing of the results is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from command_line import run
from dry_run import FOLLOWS, PlannedJob, planned_jobs, recorded_seconds
from rlhf.artifacts import find_provenance
from rlhf.errors import UserError
from rlhf.rewards import ScoreSpec, scorer_modules
from rlhf.source_digest import SCRIPTS, source_digest

CODE = "Code has changed since last execution"
"""Snakemake's reason for an edited shell command; an edited program is a changed parameter."""
ENVIRONMENT = "Software environment definition has changed since last execution"
ACCEPTABLE = {FOLLOWS, "Params have changed since last execution", CODE, ENVIRONMENT}
PROVENANCE = "provenance.json"
NOT_OF_THE_RUN = {"results", "logs", "benchmarks", ".snakemake"}


def main() -> None:
    arguments = sys.argv[1:]
    lost = not any(Path(".snakemake/metadata").glob("*"))
    jobs = planned_jobs([*arguments, *(["--forceall"] if lost else [])])
    done = [job for job in jobs if all(path.exists() for path in job.outputs)]
    direct = done if lost else [job for job in done if set(job.reasons) != {FOLLOWS}]
    refuse_other_reasons(direct, lost)
    refuse_edited_settings(direct)
    if not direct:
        print("Nothing to accept: no stage is to run again because its code changed.")
        return
    check_again(one_of_each_kind([job for job in direct if to_be_checked(job)]), arguments)
    outputs = [str(path) for job in done for path in job.outputs]
    touch = [sys.executable, "-m", "snakemake", *outputs, "--touch", *(["--forceall"] if lost else [])]
    if subprocess.run([*touch, "--quiet", "all", *arguments]).returncode:
        raise UserError("Snakemake could not record that: its message stands above")
    print(f"Accepted: {len(done)} jobs count as done by the code as it is now.")


def refuse_other_reasons(jobs: Sequence[PlannedJob], lost: bool) -> None:
    """Raise UserError where a finished job is to run again, and not because its code changed."""
    other = [f"  {job.outputs[0]}: {'; '.join(job.reasons)}" for job in jobs if set(job.reasons) - ACCEPTABLE]
    if other and not lost:
        raise UserError("these would run again for other reasons than a change of code:\n" + "\n".join(other))


def refuse_edited_settings(jobs: Sequence[PlannedJob]) -> None:
    """Raise UserError where results were made with other settings than the configuration now has."""
    edited = [
        f"  {job.outputs[0]}: {', '.join(differing)}"
        for job in jobs
        if (origin := origin_of(job)) and (differing := differing_keys(origin["spec"], spec_of(job)))
    ]
    if edited:
        raise UserError(
            "these were made with other settings; undo the edit, or let them be made anew by "
            "`snakemake --forcerun` with their names:\n" + "\n".join(edited)
        )


def differing_keys(made: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    return sorted(key for key in made.keys() | asked.keys() if made.get(key) != asked.get(key))


def origin_of(job: PlannedJob) -> dict[str, Any] | None:
    """What a job's results say of their origin; None where they say nothing, as a report does."""
    for path in job.outputs:
        if path.suffix == ".parquet":
            return find_provenance(path)
        if (path / PROVENANCE).exists():
            return json.loads((path / PROVENANCE).read_text())
    return None


def spec_of(job: PlannedJob) -> dict[str, Any]:
    return json.loads(job.spec)


def to_be_checked(job: PlannedJob) -> bool:
    """Whether a job's results may come of other code, of another command or of other libraries."""
    origin = origin_of(job)
    same_code = origin is not None and origin["code"] == code_digest(job)
    return not same_code or bool({CODE, ENVIRONMENT} & set(job.reasons))


def code_digest(job: PlannedJob) -> str:
    """Of a job's program and the modules behind it, those that its settings name included."""
    named = job.program == "scripts/score_responses.py"
    modules = scorer_modules(ScoreSpec.model_validate(spec_of(job)).scorer) if named else []
    return source_digest(SCRIPTS / Path(job.program).name, modules)


def one_of_each_kind(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """Of each rule and variant the job that took the shortest time when it ran, in their order."""
    shortest = {_kind(job): job for job in sorted(jobs, key=_seconds, reverse=True)}
    return [job for job in jobs if job is shortest[_kind(job)]]


def _kind(job: PlannedJob) -> tuple[str, str]:
    return job.rule, job.policy.rsplit("-", 1)[0]


def _seconds(job: PlannedJob) -> float:
    return recorded_seconds(job.record) if job.record.exists() else 0.0


def check_again(jobs: Sequence[PlannedJob], arguments: Sequence[str]) -> None:
    """Do these jobs again in a folder beside the project that sees its files, and compare what they make.

    Raises:
        UserError: a result differs, or a job failed.
    """
    different: list[str] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".accept-") as name:
        aside = Path(name)
        look_alike(Path.cwd(), aside)
        where = ["--directory", name, "--conda-prefix", str(Path.cwd() / ".snakemake/conda")]
        for job in reversed(jobs):  # what a job reads is from before, and not what another one made again
            outputs = list(map(str, job.outputs))
            print(f"again: {job.rule}: {', '.join(outputs)}", flush=True)
            again = [sys.executable, "-m", "snakemake", *outputs, "--rerun-triggers", "params", "--force"]
            if subprocess.run([*again, "--quiet", "all", *arguments, *where]).returncode:
                raise UserError(f"{job.rule} could not be done again: Snakemake's message stands above")
            different += [path for path in outputs if not same(Path(path), aside / path)]
    if different:
        raise UserError("the change is not harmless: the code makes other results now of\n  " + "\n  ".join(different))


def look_alike(project: Path, aside: Path) -> None:
    """Links to a project's files, of one time, which a run may replace without touching the files themselves."""
    for entry in project.iterdir():
        if entry.name not in NOT_OF_THE_RUN and not entry.name.startswith(".accept-"):
            (aside / entry.name).symlink_to(entry)
    for path in (project / "results").rglob("*"):
        if path.is_file():
            link = aside / path.relative_to(project)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
            os.utime(link, (0, 0), follow_symlinks=False)


def same(before: Path, again: Path) -> bool:
    """Equal rows, or equal files but for what they say of their origin."""
    if before.suffix == ".parquet":
        return pq.read_table(before).replace_schema_metadata() == pq.read_table(again).replace_schema_metadata()
    if before.is_dir():
        names = {path.relative_to(before) for path in before.rglob("*") if path.is_file()}
        made = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
        compared = {name for name in names | made if name.name not in (PROVENANCE, ".snakemake_timestamp")}
        return compared <= names & made and all(same(before / name, again / name) for name in compared)
    return before.read_bytes() == again.read_bytes()


if __name__ == "__main__":
    run(main)
