"""Snakemake's job graph, in which a choice of a sweep that is made again reruns only what it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snakemake.dag import DAG


class ChoosingGraph(DAG):
    """A job graph that forgets, once a sweep has chosen, why it meant to run what depends on the choice.

    Before the choice, all of that counts as to be run, because its inputs may change; Snakemake keeps that reason when
    it looks again. Afterwards the results say themselves whether their settings and inputs are still the same.
    """

    async def update_checkpoint_dependencies(self, jobs: Any = None) -> bool:
        done = [job for job in self.jobs if not self.needrun(job)] if jobs is None else jobs
        for job in done:
            if job.is_checkpoint and all(Path(path).exists() for path in job.output):
                for depending in self.bfs(self.depending, job):
                    if depending != job:
                        self.reason(depending).clear()
        updated: bool = await super().update_checkpoint_dependencies(jobs)
        return updated
