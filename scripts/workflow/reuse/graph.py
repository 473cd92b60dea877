"""Snakemake's job graph, in which what other experiments have made is taken before anything runs.

Snakemake's own cache between workflows is not used: it knows a result by the text of its rule and the whole of its
software environment, so an edited help text would miss it, it does not check contents, and it says nothing in a plan.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml
from snakemake.dag import DAG
from snakemake.logging import logger

from rlhf.base.files.checksums import DamagedError
from rlhf.base.provenance import LIBRARIES, digest, installed_versions
from rlhf.base.source_digest import SCRIPTS
from rlhf.models.revisions import read_revisions
from workflow.dry_run import inputs_of
from workflow.records.accepted_code import AcceptedCode
from workflow.records.own_records import is_ours
from workflow.reuse.matching import OtherExperiment, Wanted, other_experiments
from workflow.reuse.taking import take

Sources = dict[Path, Path]
"""A result -> the file or folder of another experiment that is the same."""


@dataclass
class Found:
    """What other experiments have of what is needed."""

    sources: Sources = field(default_factory=dict)
    jobs: dict[Any, Path] = field(default_factory=dict)
    """Each of Snakemake's jobs that need not run -> the folder of the other experiment."""
    others: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Rule -> why results in the same place are not the same, with the number of jobs."""

    def lines(self, verb: str) -> Iterator[str]:
        """What is told: a line per folder, and one for each reason why results are not the same."""
        folders: dict[Path, Counter[str]] = defaultdict(Counter)
        for job, folder in self.jobs.items():
            folders[folder][job.rule.name] += 1
        for folder, rules in folders.items():
            jobs = sum(rules.values())
            named = ", ".join(f"{rule} ({count})" for rule, count in rules.items())
            yield f"{jobs} job{'' if jobs == 1 else 's'} {verb} from {folder}: {named}."
        for rule, reasons in self.others.items():
            yield f"{rule} runs: what lies in `reuse` was made with {'; '.join(reasons)}."


@dataclass(frozen=True)
class Reuse:
    """Where to look, and what the experiment itself knows."""

    folders: tuple[str, ...]
    results: Path
    embedded: bool
    """Whether all programs run in the environment of Snakemake."""

    def look(self, graph: Any, found: Found) -> None:
        """Add what can be taken of what a graph's jobs would make, in the order of the data flow."""
        accepted = AcceptedCode.read(self.results / "accepted.json")
        experiments = other_experiments(self.folders, self.results, accepted)
        remade: set[str] = set()
        for level in graph.toposorted(set(graph.needrun_jobs())):
            for job in sorted((job for job in level if job.output), key=lambda job: job.output[0]):
                runs = graph.reason(job).forced or not remade.isdisjoint(job.input)
                if runs or not (self._is_mine(job) and self._find(job, experiments, found)):
                    remade.update(job.output)

    def _is_mine(self, job: Any) -> bool:
        return is_ours(job) and all(Path(path).is_relative_to(self.results) for path in job.output)

    def _find(self, job: Any, experiments: list[OtherExperiment], found: Found) -> bool:
        """Whether all that a job makes can be taken; then it is added to `found`."""
        wanted, reasons = self._wanted(job, found.sources), []
        for experiment in experiments:
            sources, reason = experiment.find(wanted)
            if sources:
                found.sources.update(zip(map(Path, job.output), sources, strict=True))
                found.jobs[job] = experiment.folder
                return True
            reasons += [reason] if reason else []
        if reasons:
            found.others[job.rule.name][reasons[0]] += 1
        return False

    def _wanted(self, job: Any, sources: Sources) -> Wanted:
        files = {name: paths for name, paths in inputs_of(job).items() if paths}
        return Wanted(
            outputs=tuple(Path(path).relative_to(self.results) for path in job.output),
            spec=job.params.spec,
            code=job.params.code,
            inputs={name: [digest(sources.get(path, path)) for path in paths] for name, paths in files.items()},
            versions=installed_versions() if self.embedded else pinned_versions(str(job.rule.conda_env)),
            commits=self._commits,
        )

    @cached_property
    def _commits(self) -> set[str] | None:
        revisions = read_revisions(self.results / "revisions.yaml")
        return {*revisions.models.values(), *revisions.datasets.values()} or None


@cache
def pinned_versions(environment: str) -> dict[str, str]:
    """The versions in an environment file of envs/ of the libraries that a provenance states."""
    listed = yaml.safe_load((SCRIPTS.parent / "envs" / Path(environment).name).read_text())["dependencies"]
    packages = [text for entry in listed for text in (entry["pip"] if isinstance(entry, dict) else [entry])]
    pins = dict(text.split("==", 1) for text in packages if "==" in text)
    return {name: version for name, version in pins.items() if name in LIBRARIES}


class ReusingGraph(DAG):
    """A job graph in which a job need not run whose results another experiment has: they are taken once it is made.

    A dry run takes nothing: it leaves those jobs out.
    """

    reuse: ClassVar[dict[str, Reuse]] = {}
    """By the folder of the results: a workflow can hold several experiments as modules."""
    found: Found | None = None

    async def update_needrun(self, create_inventory: bool = False) -> None:
        await super().update_needrun(create_inventory)
        if create_inventory and self.reuse and self._runs():
            self.found = Found()
            for reuse in self.reuse.values():
                reuse.look(self, self.found)
            if not self.workflow.dryrun:
                self._take(self.found)
                await super().update_needrun(create_inventory)
            for line in self.found.lines("would be taken" if self.workflow.dryrun else "taken"):
                logger.info(line)
        if self.found and self.workflow.dryrun:
            self._leave_out(self.found)

    def _runs(self) -> bool:
        """Whether this is a run or its plan, not a job of one or another command of Snakemake's."""
        workflow = self.workflow
        return workflow.is_main_process and workflow.executor_plugin is not None and not workflow.touch

    def _take(self, found: Found) -> None:
        damaged: set[str] = set()
        for job in list(found.jobs):
            if not damaged.isdisjoint(job.input) or not self._take_all(job, found.sources):
                damaged.update(job.output)
                del found.jobs[job]
        for job in self.jobs:
            self.reason(job).clear()
        self._look_again(output for job in found.jobs for output in job.output)

    def _take_all(self, job: Any, sources: Sources) -> bool:
        """Take all that a job would make; False, with a warning, if the other experiment's file is damaged."""
        for output in job.output:
            try:
                take(sources[Path(output)], Path(output), map(Path, job.input))
            except DamagedError as error:
                logger.warning(f"not taken, but made here: {error}")
                return False
            self.workflow.persistence.cleanup_metadata(output)
        return True

    def _look_again(self, files: Iterable[Any]) -> None:
        """Tell Snakemake's cache of what is on the disk that files are there."""
        cache = self.workflow.iocache
        for file in files:
            for known in (cache.mtime, cache.size, cache.checksum):
                known.pop(file, None)
            cache.exists_local[file] = True

    def _leave_out(self, found: Found) -> None:
        """Take the jobs of `found` out of those that need to run."""
        self._needrun.difference_update(found.jobs)
        for job in found.jobs:
            self._n_until_ready.pop(job, None)
            self.reason(job).clear()
        for job in self._needrun:
            self._n_until_ready[job] = sum(dependency in self._needrun for dependency in self._dependencies[job])
        self._len = len(self._finished | self._needrun)


def use_other_results(folders: list[str], results: str, environments: str) -> None:
    """Make Snakemake take what the experiments in `folders` have made."""
    from snakemake import workflow  # it cannot be the first of Snakemake's modules

    ReusingGraph.reuse.pop(results, None)
    if folders:
        ReusingGraph.reuse[results] = Reuse(tuple(folders), Path(results), environments == "embedded")
        workflow.DAG = ReusingGraph
