"""Snakemake's scheduler, which starts no job whose results another experiment is computing, but waits and takes them.

The claim is made here and not in the program: a job that waited in a program would hold its GPUs, at Slurm for as many
hours as it takes to compute the result twice, and every program would have another digest. Snakemake's plugins for
schedulers choose among the jobs that are ready, but can neither finish one that need not run any more nor wake up
later. So this is the scheduler itself, which does nothing else differently.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

from workflow.reuse.claims import Holder
from workflow.reuse.graph import ReusingGraph
from workflow.reuse.sharing import Sharing

LOOK_SECONDS = (1.0, 10.0)
"""The shortest and the longest time between two looks at what is waited for."""
LATE = 0.1
"""A look may come later than it could, by this share of the time that was waited."""


@dataclass
class Waiting:
    """A job that waits for another run."""

    holder: Holder
    since: float = field(default_factory=time.monotonic)
    ended: float | None = None
    """When the other run was seen to have ended its job."""
    next_look: float = 0.0

    def look_later(self) -> None:
        now = time.monotonic()
        shortest, longest = LOOK_SECONDS
        self.next_look = now + min(max(LATE * (now - self.since), shortest), longest)


class SharingScheduler(JobScheduler):
    """A scheduler for experiments with `reuse`."""

    def __init__(self, workflow: Any, *arguments: Any) -> None:
        super().__init__(workflow, *arguments)
        graph = workflow.dag
        active = isinstance(graph, ReusingGraph) and graph.runs() and not workflow.dryrun
        self._sharing = [Sharing(reuse) for reuse in ReusingGraph.reuse.values()] if active else []
        self._waiting: dict[Any, Waiting] = {}
        self._wakes_at = 0.0

    def schedule(self) -> bool:
        """Run all jobs; whether all succeeded."""
        try:
            return bool(super().schedule())
        finally:
            for sharing in self._sharing:
                sharing.close()

    def job_selector(self, jobs: Iterable[Any]) -> list[Any]:
        """The ready jobs that start now: as Snakemake chooses them, but for those that others compute."""
        if not self._sharing:
            return list(super().job_selector(jobs))
        self._look()
        left = {job for job in jobs if job not in self._waiting and not self.workflow.dag.finished(job)}
        started: list[Any] = []
        while left and (chosen := super().job_selector(left)):
            left.difference_update(chosen)
            allowed = [job for job in chosen if self._may_start(job)]
            for job in set(chosen).difference(allowed):
                self._free_resources(job)
            started += allowed
            if len(allowed) == len(chosen):
                break
        self._wake_later()
        return started

    def _finish_jobs(self) -> None:
        finished = list(self._tofinish)
        super()._finish_jobs()
        for job in finished:
            self._release(job)

    def _handle_error(self, job: Any, postprocess_job: bool = True) -> None:
        super()._handle_error(job, postprocess_job)
        self._release(job)

    def _release(self, job: Any) -> None:
        for sharing in self._sharing:
            sharing.release(job)

    def _sharing_of(self, job: Any) -> Sharing | None:
        """Whose results a job makes; None if it is not ours, one of a group, or its inputs are not there yet."""
        if job.is_group() or not job.output or not all(Path(path).exists() for path in job.input):
            return None
        return next((each for each in self._sharing if each.reuse.is_mine(job)), None)

    def _may_start(self, job: Any) -> bool:
        """Claim what a job makes; False if it need not run, or not now."""
        sharing = self._sharing_of(job)
        if sharing is None:
            return True
        holder = sharing.claim(job)
        if holder is None:
            return not self._take(job, sharing)
        self._wait_for(job, holder)
        return False

    def _wait_for(self, job: Any, holder: Holder) -> None:
        waiting = self._waiting.setdefault(job, Waiting(holder))
        if waiting.holder != holder or not waiting.next_look:
            _say(job, f"{holder} is computing this; waiting")
        waiting.holder, waiting.ended = holder, None
        waiting.look_later()

    def _look(self) -> None:
        """See what has become of the jobs that wait: they are taken, or wait on, or may start."""
        for job, waiting in list(self._waiting.items()):
            if time.monotonic() < waiting.next_look:
                continue
            sharing = self._sharing_of(job)
            if sharing is None:
                del self._waiting[job]
            elif holder := sharing.claim(job):
                self._wait_for(job, holder)
            elif self._take(job, sharing):
                del self._waiting[job]
            else:
                sharing.release(job)
                self._expect(job, waiting)

    def _expect(self, job: Any, waiting: Waiting) -> None:
        """The other run has ended its job, and its result is not there, or not to be seen yet on a shared disk."""
        now = time.monotonic()
        waiting.ended = waiting.ended or now
        if now - waiting.ended < self.workflow.execution_settings.latency_wait:
            waiting.look_later()
            return
        del self._waiting[job]
        _say(job, f"{waiting.holder} did not finish this; it is computed here")

    def _take(self, job: Any, sharing: Sharing) -> bool:
        """Take the results of a job that is claimed, if another experiment has them; then the job is finished."""
        dag = self.workflow.dag
        if dag.reason(job).forced:
            return False
        found = sharing.find(job)
        if job not in found.jobs or not dag.take_all(job, found.sources):
            return False
        sharing.release(job)
        _say(job, f"taken from {found.jobs[job]}")
        with self._lock:
            dag.register_running({job})
            self.workflow.async_run(dag.finish(job))
            self.finished_jobs += 1
        if self.print_progress:
            self.progress()
        self._open_jobs.release()  # jobs that it was waited for with are ready
        return True

    def _wake_later(self) -> None:
        """Look at the jobs again in time, whether or not a job of this run has ended by then."""
        if not self._waiting:
            return
        now, shortest = time.monotonic(), LOOK_SECONDS[0]
        due = max(min(waiting.next_look for waiting in self._waiting.values()), now + shortest)
        if due < self._wakes_at or self._wakes_at < now + shortest / 2:
            self._wakes_at = due
            timer = threading.Timer(due - now, self._open_jobs.release)
            timer.daemon = True
            timer.start()


def _say(job: Any, what: str) -> None:
    logger.info(f"[{time.ctime()}] {job.rule.name}: {job.output[0]}: {what}.")
