"""What a run would do, why, and about how many GPU hours it would take. Takes the arguments of snakemake."""

from __future__ import annotations

import statistics
import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from dry_run import FOLLOWS, PlannedJob, planned_jobs, recorded_seconds


def main() -> None:
    show(planned_jobs(sys.argv[1:]), Console(width=None if sys.stdout.isatty() else 160))


def show(jobs: list[PlannedJob], console: Console) -> None:
    """Print a row per stage, and the sum."""
    if not jobs:
        console.print("Nothing to be done: all results are there and belong to this configuration.")
        return
    table = Table("stage", "jobs", "parts", "policies", "why", "each asks for", "hours", "GPU hours")
    total, unrecorded = 0.0, []
    for rule in dict.fromkeys(job.rule for job in jobs):
        stage = [job for job in jobs if job.rule == rule]
        hours = [estimate(job) for job in stage]
        known = [value for value in hours if value is not None]
        limit = sum(job.minutes / 60 for job in stage)
        gpu_limit = sum(job.minutes / 60 * job.gpus for job in stage)
        policies = " ".join(dict.fromkeys(job.policy for job in stage))
        row = [rule, str(len(stage)), parts(stage), policies, why(stage)]
        row.append("\n".join(dict.fromkeys(request(job) for job in stage)))
        if len(known) == len(stage):
            gpu_hours = sum(value * job.gpus for value, job in zip(known, stage, strict=True))
            total += gpu_hours
            table.add_row(*row, f"{sum(known):.2g}", f"{gpu_hours:.2g}" if gpu_hours else "")
        else:
            unrecorded += [rule] if gpu_limit else []
            total += gpu_limit
            table.add_row(*row, f"at most {limit:.3g}", f"at most {gpu_limit:.3g}" if gpu_limit else "")
    console.print(table)
    bound = f", the time limits taken for {', '.join(unrecorded)}, which have no record yet" if unrecorded else ""
    console.print(f"{len(jobs)} jobs, {'at most' if unrecorded else 'about'} {total:.3g} GPU hours{bound}.")


def request(job: PlannedJob) -> str:
    gpus = f"{job.gpus} GPU{'s' if job.gpus > 1 else ''}, " if job.gpus else ""
    return f"{gpus}{job.memory_mb / 1000:g} GB, {job.minutes / 60:.3g} h"


def parts(stage: list[PlannedJob]) -> str:
    """How many different parts, by split."""
    found = Counter(part.split("-")[0] for part in {job.part for job in stage} - {""})
    return ", ".join(f"{found[split]} {split}" for split in ("train", "test") if found[split])


def why(stage: list[PlannedJob]) -> str:
    """The reasons of a stage's jobs, with their numbers; that a stage before it runs is one where there is no other."""
    found: Counter[str] = Counter()
    for job in stage:
        found.update([reason for reason in job.reasons if reason != FOLLOWS] or [FOLLOWS])
    return "\n".join(f"{reason} ({count})" if count < len(stage) else reason for reason, count in found.items())


def estimate(job: PlannedJob) -> float | None:
    """Hours: what this job took before, else what the others of its rule took on average; None without a record."""
    if job.record.exists():
        return recorded_seconds(job.record) / 3600
    stages = [folder for folder in job.record.parents if folder.name == job.rule]
    others = [recorded_seconds(path) / 3600 for stage in stages for path in stage.rglob("*.tsv")]
    return statistics.fmean(others) if others else None


if __name__ == "__main__":
    main()
