"""What a run would do, why, and about how many GPU hours it would take. Takes the arguments of snakemake."""

from __future__ import annotations

import itertools
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
    for (_, rule), members in itertools.groupby(sorted(jobs, key=_stage), key=_stage):
        stage = list(members)
        hours = estimates(stage)
        limit = sum(job.minutes / 60 for job in stage)
        gpu_limit = sum(job.minutes / 60 * job.gpus for job in stage)
        policies = " ".join(sorted({job.policy for job in stage}, key=_by_iteration))
        row = [rule, str(len(stage)), parts(stage), policies, why(stage)]
        row.append("\n".join(dict.fromkeys(request(job) for job in stage)))
        if hours:
            gpu_hours = sum(value * job.gpus for value, job in zip(hours, stage, strict=True))
            total += gpu_hours
            table.add_row(*row, short(sum(hours)), short(gpu_hours) if gpu_hours else "")
        else:
            unrecorded += [rule] if gpu_limit else []
            total += gpu_limit
            table.add_row(*row, f"at most {short(limit)}", f"at most {short(gpu_limit)}" if gpu_limit else "")
    console.print(table)
    bound = f", the time limits taken for {', '.join(unrecorded)}, which have no record yet" if unrecorded else ""
    console.print(f"{len(jobs)} jobs, {'at most' if unrecorded else 'about'} {short(total)} GPU hours{bound}.")


def _stage(job: PlannedJob) -> tuple[int, str]:
    return job.position, job.rule


def _by_iteration(policy: str) -> tuple[int, str]:
    """base, then the policies of the first iteration, then those of the second."""
    iteration = policy.rpartition("-")[2]
    return (int(iteration) if iteration.isdigit() else 0), policy


def short(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


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


def estimates(stage: list[PlannedJob]) -> list[float]:
    """Hours of each job: what it took before, else what others of its rule took on average; empty without a record."""
    folders = [folder for folder in stage[0].record.parents if folder.name == stage[0].rule]
    records = {job.record for job in stage}.union(*(folder.rglob("*.tsv") for folder in folders))
    hours = {record: recorded_seconds(record) / 3600 for record in records if record.exists()}
    if not hours:
        return []
    average = statistics.fmean(hours.values())
    return [hours.get(job.record, average) for job in stage]


if __name__ == "__main__":
    main()
