"""Keep existing results after a change of code or libraries that does not affect them.

One job of each changed stage and variant is rerun in a separate folder and compared. If they are equal, results of the
old code count as results of the new code; otherwise that stage, and what follows from it, reruns at the next run. No
result is modified here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from command_line import run, takes_arguments_of_snakemake
from rlhf.base.errors import UserError
from rlhf.base.files.checksums import SUMS
from rlhf.base.files.folders import PROVENANCE
from rlhf.base.files.temporary_files import temporary_beside
from rlhf.base.lineage import different_inputs
from rlhf.base.names import split_name
from workflow.dry_run import FOLLOWS, SETTINGS_OR_CODE, PlannedJob, planned_jobs, planned_workflow, recorded_seconds
from workflow.records.accepted_code import AcceptedCode
from workflow.records.own_records import stated_origin

CODE = "Code has changed since last execution"
"""Snakemake's reason for an edited shell command; an edited program is a changed parameter."""
ENVIRONMENT = "Software environment definition has changed since last execution"
COMPARED = {
    FOLLOWS,
    CODE,
    ENVIRONMENT,
    SETTINGS_OR_CODE,
    "Set of input files has changed since last execution",
    "Updated input files",
}
"""Reasons that a comparison with what the results say of themselves can settle."""
NOT_OF_THE_RUN = {"results", "logs", "benchmarks", ".snakemake"}
ASIDE = "accept"
"""What the temporary folder beside the project is named after."""


def main() -> None:
    arguments = takes_arguments_of_snakemake(__doc__)
    jobs = planned_jobs(arguments)
    accepted = Path(planned_workflow()["PATHS"].accepted)
    done = [job for job in jobs if all(path.exists() for path in job.outputs)]
    direct = [job for job in done if set(job.reasons) != {FOLLOWS}]
    refuse_other_reasons(direct)
    origins = {job: origin_of(job) for job in done}
    refuse_edited_settings(origins)
    refuse_other_inputs(origins)
    if not direct:
        print("Nothing to accept: no stage would rerun because of a code change.")
        return
    codes = AcceptedCode.read(accepted)
    # Of a job that follows another one, Snakemake does not look for further reasons.
    changed = [job for job in done if not is_of_this_code(job, origins[job], codes)]
    different = different_again(one_of_each_kind(changed), arguments)
    kept = unaffected(done, different)
    for job in set(changed) & set(kept):
        codes.add(accepted, origins[job]["code"], job.code)
    outputs = [str(path) for job in kept for path in job.outputs]
    touch = [sys.executable, "-m", "snakemake", *outputs, "--touch", "--quiet", "all", *arguments]
    if kept and subprocess.run(touch).returncode:
        raise UserError("Snakemake could not record that: see its message above")
    print(f"Accepted: {len(kept)} jobs now count as made by the current code.")
    if different:
        raise UserError(
            "the code now makes other results of these, which the next run makes again, with all that follows:\n"
            + "\n".join(f"  {job.outputs[0]}" for job in different)
        )


def refuse_other_reasons(jobs: Sequence[PlannedJob]) -> None:
    """Raise UserError if a finished job would rerun for a reason that a comparison cannot settle."""
    other = [f"  {job.outputs[0]}: {'; '.join(job.reasons)}" for job in jobs if set(job.reasons) - COMPARED]
    if other:
        raise UserError("these would rerun for other reasons than a change of code:\n" + "\n".join(other))


def refuse_edited_settings(origins: Mapping[PlannedJob, Mapping[str, Any]]) -> None:
    """Raise UserError if results were made with settings that have since been edited."""
    edited = [
        f"  {job.outputs[0]}: {', '.join(differing)}"
        for job, origin in origins.items()
        if (differing := differing_keys(origin["spec"], spec_of(job)))
    ]
    if edited:
        raise UserError(
            "these were made with other settings; undo the edit, or run the pipeline to make them again:\n"
            + "\n".join(edited)
        )


def refuse_other_inputs(origins: Mapping[PlannedJob, Mapping[str, Any]]) -> None:
    """Raise UserError if results were made from inputs that have since changed."""
    other = [
        f"  {job.outputs[0]}: other {', '.join(names)}"
        for job, origin in origins.items()
        if (names := different_inputs(origin, job.inputs))
    ]
    if other:
        raise UserError(
            "these were made from inputs that have since changed; run the pipeline to make them "
            "again:\n" + "\n".join(other)
        )


def differing_keys(made: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    return sorted(key for key in made.keys() | asked.keys() if made.get(key) != asked.get(key))


def origin_of(job: PlannedJob) -> dict[str, Any]:
    """The provenance of a job's results.

    Raises:
        UserError: they say nothing.
    """
    origin = stated_origin(job.outputs[0])
    if origin is None:
        raise UserError(
            f"{job.outputs[0]}: it states no provenance: it is damaged, or something else wrote it. Delete "
            "it and run the pipeline again."
        )
    return origin


def spec_of(job: PlannedJob) -> dict[str, Any]:
    return json.loads(job.spec)


def is_of_this_code(job: PlannedJob, origin: Mapping[str, Any], codes: AcceptedCode) -> bool:
    """Whether a job's program, command and libraries are those that made its results."""
    return codes.is_same(origin["code"], job.code) and not {CODE, ENVIRONMENT} & set(job.reasons)


def one_of_each_kind(jobs: Sequence[PlannedJob]) -> list[PlannedJob]:
    """The fastest recorded job of each rule and variant, in the order of the jobs."""
    shortest = {_kind(job): job for job in sorted(jobs, key=_seconds, reverse=True)}
    return [job for job in jobs if job is shortest[_kind(job)]]


def _kind(job: PlannedJob) -> tuple[str, str]:
    return job.rule, split_name(job.policy)[0]


def _seconds(job: PlannedJob) -> float:
    return recorded_seconds(job.record) if job.record.exists() else 0.0


def unaffected(jobs: Sequence[PlannedJob], different: Sequence[PlannedJob]) -> list[PlannedJob]:
    """The jobs that neither are of a kind that differs nor depend on one that is.

    Args:
        jobs: dependencies first.
    """
    kinds, affected, kept = set(map(_kind, different)), set[Path](), []
    for job in jobs:
        if _kind(job) in kinds or affected.intersection(path for paths in job.inputs.values() for path in paths):
            affected.update(job.outputs)
        else:
            kept.append(job)
    return kept


def different_again(jobs: Sequence[PlannedJob], arguments: Sequence[str]) -> list[PlannedJob]:
    """Rerun jobs in a folder beside the project, linked to its files; those whose results differ.

    Raises:
        UserError: a job failed.
    """
    different: list[PlannedJob] = []
    with temporary_beside(Path.cwd() / ASIDE) as aside:
        aside.mkdir()
        look_alike(Path.cwd(), aside)
        where = ["--directory", str(aside), "--conda-prefix", str(Path.cwd() / ".snakemake/conda")]
        for job in reversed(jobs):  # what a job reads is from before, and not what another one made again
            outputs = list(map(str, job.outputs))
            print(f"again: {job.rule}: {', '.join(outputs)}", flush=True)
            again = [sys.executable, "-m", "snakemake", *outputs, "--rerun-triggers", "mtime", "--force"]
            if subprocess.run([*again, "--quiet", "all", *arguments, *where]).returncode:
                raise UserError(f"{job.rule} could not be done again: see Snakemake's message above")
            if not all(same(Path(path), aside / path) for path in outputs):
                different.append(job)
    return different


def look_alike(project: Path, aside: Path) -> None:
    """Link to a project's files, all with one modification time, so that a run replaces links and not files."""
    for entry in project.iterdir():
        if entry.name not in NOT_OF_THE_RUN and not entry.name.startswith(f".{ASIDE}@"):
            (aside / entry.name).symlink_to(entry)
    for path in (project / "results").rglob("*"):
        if path.is_file():
            link = aside / path.relative_to(project)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
            os.utime(link, (0, 0), follow_symlinks=False)


def same(before: Path, again: Path) -> bool:
    """Whether two results are equal apart from their provenance."""
    if before.suffix == ".parquet":
        return pq.read_table(before).replace_schema_metadata() == pq.read_table(again).replace_schema_metadata()
    if before.is_dir():
        names = {path.relative_to(before) for path in before.rglob("*") if path.is_file()}
        made = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
        compared = {name for name in names | made if name.name not in (PROVENANCE, SUMS, ".snakemake_timestamp")}
        return compared <= names & made and all(same(before / name, again / name) for name in compared)
    return before.read_bytes() == again.read_bytes()


if __name__ == "__main__":
    run(main)
