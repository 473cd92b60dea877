"""What other experiments have of what is needed, looked for in the order of the data flow."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from rlhf.base.provenance import LIBRARIES, digest, installed_versions
from rlhf.base.source_digest import SCRIPTS
from rlhf.models.revisions import read_revisions
from workflow.dry_run import inputs_of
from workflow.records.accepted_code import ACCEPTED, AcceptedCode
from workflow.records.own_records import is_ours, is_undecided
from workflow.reuse.matching import OtherExperiment, Wanted, other_experiments
from workflow.reuse.published import local_folders

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
            yield f"{rule} is not taken: {'; '.join(reasons)}."


@dataclass(frozen=True)
class Reuse:
    """Where to look, and what the experiment itself knows."""

    folders: tuple[str, ...]
    results: Path
    revisions: Path
    """The file with the hub commits of the experiment."""
    embedded: bool
    """Whether all programs run in the environment of Snakemake."""
    look_up: Callable[[], None]
    """Looks up the hub commits that the configuration leaves open; raises UserError."""

    def look(self, graph: Any, found: Found, *, plan: bool) -> None:
        """Add what can be taken of what a graph's jobs would make, in the order of the data flow.

        Args:
            plan: nothing runs, so no hub is asked. Commits that were never looked up count as those of the others.

        Raises:
            UserError: a hub commit cannot be looked up.
        """
        if not plan:
            self.look_up()
        commits = None if plan and not self.revisions.exists() else self._commits()
        experiments = self._others()
        remade: set[str] = set()
        for level in graph.toposorted(set(graph.needrun_jobs())):
            for job in sorted((job for job in level if job.output), key=lambda job: job.output[0]):
                runs = graph.reason(job).forced or not remade.isdisjoint(job.input)
                if runs or not (self.is_mine(job) and self._find(job, experiments, found, commits)):
                    remade.update(job.output)

    def find(self, job: Any) -> Found:
        """What another experiment has of what a job would make whose inputs are there."""
        found, others = Found(), self._others()
        for folder in {Path(output).relative_to(self.results).parent for output in job.output}:
            for other in others:
                _look_anew(other.folder / folder)
        self._find(job, others, found, self._commits())
        return found

    def identity(self, job: Any) -> str:
        """A digest of what a job would make whose inputs are there."""
        return self._wanted(job, {}, None).identity()

    def is_mine(self, job: Any) -> bool:
        """Whether a job makes results of this experiment."""
        known = is_ours(job) and not is_undecided(job)
        return known and all(Path(path).is_relative_to(self.results) for path in job.output)

    def _others(self) -> list[OtherExperiment]:
        return other_experiments(local_folders(self.folders), self.results, AcceptedCode.read(self.results / ACCEPTED))

    def _find(self, job: Any, experiments: list[OtherExperiment], found: Found, commits: set[str] | None) -> bool:
        """Whether all that a job makes can be taken; then it is added to `found`."""
        wanted, reasons = self._wanted(job, found.sources, commits), []
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

    def _wanted(self, job: Any, sources: Sources, commits: set[str] | None) -> Wanted:
        files = {name: paths for name, paths in inputs_of(job).items() if paths}
        return Wanted(
            outputs=tuple(Path(path).relative_to(self.results) for path in job.output),
            spec=job.params.spec,
            code=job.params.code,
            inputs={name: [digest(sources.get(path, path)) for path in paths] for name, paths in files.items()},
            versions=self._installed if self.embedded else pinned_versions(str(job.rule.conda_env)),
            commits=commits,
        )

    @cached_property
    def _installed(self) -> dict[str, str]:
        return installed_versions()  # once for all jobs of a plan

    def _commits(self) -> set[str]:
        revisions = read_revisions(self.revisions)
        return {*revisions.models.values(), *revisions.datasets.values()}


def _look_anew(folder: Path) -> None:
    """Open a folder, so that NFS asks its server what is new in it: else it may not see a new file for a minute."""
    with suppress(OSError):  # there is none
        os.close(os.open(folder, os.O_RDONLY))


@cache
def pinned_versions(environment: str) -> dict[str, str]:
    """The versions in an environment file of envs/ of the libraries that a provenance states."""
    listed = yaml.safe_load((SCRIPTS.parent / "envs" / Path(environment).name).read_text())["dependencies"]
    packages = [text for entry in listed for text in (entry["pip"] if isinstance(entry, dict) else [entry])]
    pins = dict(text.split("==", 1) for text in packages if "==" in text)
    return {name: version for name, version in pins.items() if name in LIBRARIES}
