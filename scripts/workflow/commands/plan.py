"""Show what a run would do and why (with each changed setting), and estimate its GPU hours."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from command_line import run, takes_arguments_of_snakemake
from rlhf.base.names import split_name
from workflow.dry_run import (
    FOLLOWS,
    SETTINGS_OR_CODE,
    PlannedJob,
    planned_jobs,
    planned_reuse,
    planned_workflow,
    recorded_seconds,
)
from workflow.planning.forecast import Forecast
from workflow.requests import Requests


def main() -> None:
    jobs = planned_jobs(takes_arguments_of_snakemake(__doc__))
    requests: Requests = planned_workflow()["REQUESTS"]
    shown = console()
    for line in planned_reuse():
        shown.print(line, highlight=False)
    show(jobs, Forecast(requests.experiment, requests.training), shown)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 180)


def show(jobs: list[PlannedJob], forecast: Forecast, console: Console) -> None:
    """Print one row per stage, the total, and the assumptions behind it."""
    if not jobs:
        console.print("Nothing to be done: all results are there and belong to this configuration.")
        return
    columns = ("stage", "jobs", "parts", "policies", "why", "each asks for", "GB per GPU", "hours", "GPU hours")
    table = Table(*columns)
    sums: dict[str, float] = dict.fromkeys((RECORDED, CALCULATED, LIMIT), 0.0)
    limited: list[str] = []
    for (_, rule), members in itertools.groupby(sorted(jobs, key=_stage), key=_stage):
        stage = list(members)
        how, hours = stage_hours(stage, forecast)
        gpu_hours = sum(value * job.gpus for value, job in zip(hours, stage, strict=True))
        sums[how] += gpu_hours
        limited += [rule] if how == LIMIT and gpu_hours else []
        gigabytes = forecast.gigabytes.get(rule) if any(job.gpus for job in stage) else None
        table.add_row(
            rule,
            str(len(stage)),
            parts(stage),
            " ".join(sorted({job.policy for job in stage}, key=_by_iteration)),
            why(stage),
            "\n".join(dict.fromkeys(request(job) for job in stage)),
            "" if gigabytes is None else f"{gigabytes:.0f}",
            f"{how}{short(sum(hours))}",
            f"{how}{short(gpu_hours)}" if gpu_hours else "",
        )
    console.print(table)
    bound = f", the time limits taken for {', '.join(limited)}, which have no record yet" if limited else ""
    console.print(
        f"{len(jobs)} jobs, {'at most' if limited else 'about'} {short(sum(sums.values()))} GPU hours{bound}."
    )
    if sums[CALCULATED]:
        console.print(f"Hours with ~ are calculated, not measured: {forecast.assumptions}")
    for line in forecast.judging([(job.rule, job.policy, job.part) for job in jobs]):
        console.print(line, highlight=False)
    for model in forecast.unknown_models:
        console.print(f"Memory and hours of {model} are not known before `snakemake prefetch`.")


RECORDED, CALCULATED, LIMIT = "", "~", "at most "
"""How the hours of a stage are known, as it is printed before them."""


def stage_hours(stage: list[PlannedJob], forecast: Forecast) -> tuple[str, list[float]]:
    """Hours of each job of a stage, and where they come from: records, calculation, or the time limits."""
    expected = [forecast.seconds(job.rule, job.policy, job.part) for job in stage]
    hours = recorded_hours(stage, forecast, expected)
    if hours:
        return RECORDED, hours
    calculated = [seconds / 3600 for seconds in expected if seconds is not None]
    if len(calculated) == len(stage):
        return CALCULATED, calculated
    return LIMIT, [job.minutes / 60 for job in stage]


def _stage(job: PlannedJob) -> tuple[int, str]:
    return job.position, job.rule


def _by_iteration(policy: str) -> tuple[int, str]:
    """base, then the policies of the first iteration, then those of the second."""
    return split_name(policy)[1], policy


def short(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def request(job: PlannedJob) -> str:
    gpus = f"{job.gpus} GPU{'s' if job.gpus > 1 else ''}, " if job.gpus else ""
    return f"{gpus}{job.memory_mb / 1000:g} GB, {job.minutes / 60:.3g} h"


def parts(stage: list[PlannedJob]) -> str:
    """The number of distinct parts, by split; of benchmarks, their number."""
    found = Counter(part.split("-")[0] if "-" in part else "benchmarks" for part in {job.part for job in stage} - {""})
    return ", ".join(f"{found[split]} {split}" for split in ("train", "test", "benchmarks") if found[split])


def why(stage: list[PlannedJob]) -> str:
    """The reasons why a stage's jobs run, with counts; "an earlier stage runs" only if there is no other.

    "Parameters have changed" is replaced by each changed setting with its values.
    """
    found: Counter[str] = Counter()
    for job in stage:
        reasons = [reason for reason in job.reasons if reason not in (FOLLOWS, SETTINGS_OR_CODE)]
        found.update([*reasons, *job.changes] or [FOLLOWS])
    return "\n".join(f"{reason} ({count})" if count < len(stage) else reason for reason, count in found.items())


def recorded_hours(stage: list[PlannedJob], forecast: Forecast, expected: list[float | None]) -> list[float]:
    """Hours of each job from the records of its rule; empty if there are none.

    A job that ran before is taken to need the same time again. For the others the calculated time is scaled by how far
    off the calculation was for the recorded jobs; without a calculation, the mean of the records is used.
    """
    rule = stage[0].rule
    folders = [folder for folder in stage[0].record.parents if folder.name == rule]
    records = {job.record for job in stage}.union(*(folder.rglob("*.tsv") for folder in folders))
    hours = {record: recorded_seconds(record) / 3600 for record in records if record.exists()}
    if not hours:
        return []
    average = statistics.fmean(hours.values())
    calculated = {record: forecast.seconds(rule, *policy_and_part(record, rule)) for record in hours}
    known = {record: seconds / 3600 for record, seconds in calculated.items() if seconds is not None}
    factor = sum(hours[record] for record in known) / sum(known.values()) if known else None
    others = [average if factor is None or seconds is None else factor * seconds / 3600 for seconds in expected]
    return [hours.get(job.record, other) for job, other in zip(stage, others, strict=True)]


def policy_and_part(record: Path, rule: str) -> tuple[str, str]:
    """Policy and part of a benchmark file: `<rule>.tsv`, `<rule>/<policy>.tsv` or `<rule>/<policy>/.../<part>.tsv`."""
    names = record.with_suffix("").parts
    below = names[len(names) - 1 - names[::-1].index(rule) + 1 :]
    return below[0] if below else "", below[-1] if len(below) > 1 else ""


if __name__ == "__main__":
    run(main)
