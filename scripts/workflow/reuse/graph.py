"""Snakemake's job graph, in which what other experiments have made is taken before anything runs.

Snakemake's own cache between workflows is not used: it knows a result by the text of its rule and the whole of its
software environment, so an edited help text would miss it, it does not check contents, and it says nothing in a plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import DamagedError
from rlhf.prefetch.lookup import resolve_revisions
from workflow.experiment import Experiment
from workflow.paths import Paths
from workflow.reuse.claims import alone_in
from workflow.reuse.search import Found, Reuse, Sources
from workflow.reuse.taking import take
from workflow.specs.hub import prefetch_spec
from workflow.variants.graph import ChoosingGraph


class ReusingGraph(ChoosingGraph):
    """A job graph in which a job need not run whose results another experiment has: they are taken once it is made.

    A dry run takes nothing: it leaves those jobs out.
    """

    reuse: ClassVar[dict[str, Reuse]] = {}
    """By the folder of the results: a workflow can hold several experiments as modules."""
    found: Found | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.said: set[str] = set()

    async def update_needrun(self, create_inventory: bool = False) -> None:
        await super().update_needrun(create_inventory)
        if create_inventory and self.reuse and self.runs():
            self.found = Found()
            for reuse in self.reuse.values():
                try:
                    reuse.look(self, self.found, plan=self.workflow.dryrun)
                except UserError as error:
                    raise WorkflowError(f"error: {error}") from error
            if not self.workflow.dryrun:
                self._take(self.found)
                await super().update_needrun(create_inventory)
            for line in self.found.lines("would be taken" if self.workflow.dryrun else "taken"):
                if line not in self.said:
                    logger.info(line)
                self.said.add(line)
        if self.found and self.workflow.dryrun:
            self._leave_out(self.found)

    async def update_checkpoint_dependencies(self, jobs: Any = None) -> bool:
        """Where a sweep has chosen before anything runs, what it promotes may be at hand too."""
        updated: bool = await super().update_checkpoint_dependencies(jobs)
        if updated and jobs is None:
            await self.update_needrun(create_inventory=True)
        return updated

    def create_conda_envs(self, dryrun: bool = False, quiet: bool = False) -> None:
        """One run after the other: Snakemake removes an environment that another run is making as an incomplete one."""
        folder = Path(self.workflow.persistence.conda_env_path)
        with alone_in(folder) if self.conda_envs and not self.workflow.dryrun else nullcontext():
            super().create_conda_envs(dryrun, quiet)

    def runs(self) -> bool:
        """Whether this is a run or its plan, not a job of one or another command of Snakemake's."""
        workflow = self.workflow
        runs = workflow.is_main_process and workflow.executor_plugin is not None and not workflow.touch
        return runs and any(job.output for job in self.needrun_jobs())  # `prefetch` has none

    def _take(self, found: Found) -> None:
        damaged: set[str] = set()
        for job in list(found.jobs):
            if not damaged.isdisjoint(job.input) or not self.take_all(job, found.sources):
                damaged.update(job.output)
                del found.jobs[job]
        for job in self.jobs:
            self.reason(job).clear()
        self._look_again(output for job in found.jobs for output in job.output)

    def take_all(self, job: Any, sources: Sources) -> bool:
        """Take all that a job would make; False, with a warning, if the other experiment's file is damaged."""
        for output in job.output:
            try:
                take(sources[Path(output)], Path(output), map(Path, job.input))
            except (DamagedError, OSError) as error:  # it has just been removed there, or cannot be read
                logger.warning(f"not taken, but made here: {error}")
                return False
            except UserError as error:  # the disk is full
                raise WorkflowError(f"error: {error}") from error
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


def use_other_results(experiment: Experiment) -> None:
    """Make Snakemake take what the experiments in the folders of `reuse` have made."""
    from snakemake import workflow  # it cannot be the first of Snakemake's modules

    from workflow.reuse.scheduler import SharingScheduler  # which imports this module

    paths = Paths(experiment)
    revisions = Path(paths.revisions)
    ReusingGraph.reuse.pop(paths.results, None)
    if experiment.reuse:
        ReusingGraph.reuse[paths.results] = Reuse(
            folders=tuple(experiment.reuse),
            results=Path(paths.results),
            revisions=revisions,
            embedded=experiment.environments == "embedded",
            look_up=lambda: resolve_revisions(prefetch_spec(experiment), revisions),
        )
        workflow.JobScheduler = SharingScheduler
    workflow.DAG = ReusingGraph
