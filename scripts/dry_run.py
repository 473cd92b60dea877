"""The jobs that Snakemake would run, from its own dry run."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.cli import main as snakemake
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

FOLLOWS = "Input files updated by another job"
"""The reason of a job that runs because one before it does."""


@dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run."""

    rule: str
    policy: str
    part: str
    outputs: tuple[Path, ...]
    command: str
    """The shell command."""
    reasons: tuple[str, ...]
    gpus: int
    memory_mb: int
    minutes: int
    """Time that it asks for."""
    record: Path
    """Snakemake's benchmark of this job, if it has run before."""


class JobCollector(logging.Filter):
    """Keeps what Snakemake's logger tells of the jobs of a dry run, and lets through warnings and errors alone."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[PlannedJob] = []

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.__dict__
        if told.get("event") == LogEvent.JOB_INFO and told["benchmark"] is not None:
            self.collect(told)
        return record.levelno >= logging.WARNING

    def collect(self, told: dict[str, Any]) -> None:
        resources, wildcards = told["resources"], told["wildcards"]
        self.jobs.append(
            PlannedJob(
                rule=told["rule_name"],
                policy=wildcards.get("policy", ""),
                part=wildcards.get("part", ""),
                outputs=tuple(map(Path, told["output"])),
                command=told["shellcmd"],
                reasons=tuple(reason.split(":")[0].strip() for reason in told["reason"].split(";")),
                gpus=resources.get("gpu", 0),
                memory_mb=resources.get("mem_mb", 0),
                minutes=resources.get("runtime", 0),
                record=Path(told["benchmark"]),
            )
        )


def planned_jobs(arguments: Iterable[str]) -> list[PlannedJob]:
    """What Snakemake would run with these arguments, in its order; rules without a benchmark are no jobs.

    Raises:
        SystemExit: the dry run fails; Snakemake has said why.
    """
    collector = JobCollector()
    logger.addFilter(collector)
    try:
        snakemake(["--dry-run", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        logger.removeFilter(collector)
    return collector.jobs


def recorded_seconds(record: Path) -> float:
    """How long a job took, by Snakemake's benchmark file, a table with one row."""
    with record.open() as lines:
        return float(next(csv.DictReader(lines, delimiter="\t"))["s"])
