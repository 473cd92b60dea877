"""The jobs that Snakemake would run, from its own dry run."""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from snakemake.cli import main as snakemake
from snakemake.executors import dryrun
from snakemake.logging import logger
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from rlhf.base.errors import UserError
from workflow.planning.configuration_files import check_configuration_files

SETTINGS_OR_CODE = "Params have changed since last execution"
"""The reason of a job whose settings or code are no longer those of its results."""
FOLLOWS = "Input files updated by another job"
"""The reason of a job that runs because one before it does."""


@dataclasses.dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run."""

    rule: str
    position: int
    """The position of the rule in the Snakefile, which follows the data flow."""
    policy: str
    part: str
    """Of a benchmark's job: the benchmark."""
    inputs: Mapping[str, tuple[Path, ...]] = dataclasses.field(compare=False)
    """By the names that the rule gives them."""
    outputs: tuple[Path, ...]
    spec: str
    """Its settings as JSON."""
    code: str
    """The digest of its program."""
    reasons: tuple[str, ...]
    changes: tuple[str, ...]
    """Behind `SETTINGS_OR_CODE`: `learning_rate 0.0001 -> 0.0002`, `code`."""
    gpus: int
    memory_mb: int
    minutes: int
    """The time limit that it requests."""
    record: Path
    """Snakemake's benchmark file of this job; exists if it has run before."""


class PlanKeeper(dryrun.Executor):
    """A dry-run executor that keeps the job graph it was created with."""

    graph: ClassVar[Any]

    def __init__(self, workflow: Any, logger: Any) -> None:
        super().__init__(workflow, logger)
        type(self).graph = workflow.dag


def planned_jobs(arguments: Iterable[str]) -> list[PlannedJob]:
    """The jobs that Snakemake would run with these arguments, dependencies first; only those with a benchmark.

    Raises:
        UserError: a configuration file cannot be read.
        SystemExit: the dry run failed; Snakemake has printed why.
    """
    arguments = list(arguments)
    check_configuration_files(arguments)
    executors = ExecutorPluginRegistry().plugins
    printing = executors["dryrun"]
    executors["dryrun"] = dataclasses.replace(printing, executor=PlanKeeper)
    logger.addFilter(is_warning)
    try:
        # Quiet, the dry run ends with the plan; to print its jobs would take as long again.
        snakemake(["--dry-run", *arguments, "--quiet"])
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        logger.removeFilter(is_warning)
        executors["dryrun"] = printing
    return described(PlanKeeper.graph)


def planned_workflow() -> Mapping[str, Any]:
    """The globals of the Snakefile that was planned last, for example its experiment."""
    names: Mapping[str, Any] = PlanKeeper.graph.workflow.globals
    if "EXPERIMENT" not in names:
        raise UserError("this Snakefile is another workflow's: run this command on the pipeline's own Snakefile")
    return names


def planned_reuse() -> list[str]:
    """What would be taken from other experiments in the plan that was made last, in words."""
    found = getattr(PlanKeeper.graph, "found", None)
    return list(found.lines("would be taken")) if found else []


def described(graph: Any) -> list[PlannedJob]:
    """The jobs of Snakemake's graph that need to run. A rule requests the same resources for all parts of a policy."""
    positions = {rule.name: position for position, rule in enumerate(graph.workflow.rules)}
    asked: dict[tuple[str, str], Mapping[str, Any]] = {}
    jobs = []
    for level in graph.toposorted(set(graph.needrun_jobs())):
        for job in sorted((job for job in level if job.benchmark), key=lambda job: job.output[0]):
            rule, policy = job.rule.name, job.wildcards_dict.get("policy", "")
            if (rule, policy) not in asked:
                asked[rule, policy] = job.resources
            jobs.append(described_job(job, positions[rule], asked[rule, policy]))
    return jobs


def described_job(job: Any, position: int, resources: Mapping[str, Any]) -> PlannedJob:
    reason = job.dag.reason(job)
    return PlannedJob(
        rule=job.rule.name,
        position=position,
        policy=job.wildcards_dict.get("policy", ""),
        part=job.wildcards_dict.get("part") or job.wildcards_dict.get("benchmark", ""),
        inputs=inputs_of(job),
        outputs=tuple(map(Path, job.output)),
        spec=job.params.spec,
        code=job.params.code,
        reasons=tuple(text.split(":")[0].strip() for text in str(reason).split(";")),
        changes=tuple(sorted(reason.params_changed.only_new)) if reason.params_changed else (),
        gpus=resources.get("gpu", 0),
        memory_mb=resources.get("mem_mb", 0),
        minutes=resources.get("runtime", 0),
        record=Path(job.benchmark),
    )


def inputs_of(job: Any) -> dict[str, tuple[Path, ...]]:
    """The input files of a Snakemake job, by the names that its rule gives them."""
    return {
        name: (Path(files),) if isinstance(files, str) else tuple(map(Path, files)) for name, files in job.input.items()
    }


def is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def recorded_seconds(record: Path) -> float:
    """The duration of a job in seconds, from Snakemake's benchmark file, a table with one row."""
    with record.open() as lines:
        return float(next(csv.DictReader(lines, delimiter="\t"))["s"])
