"""What an experiment shares with those that it takes results from while they run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow.reuse.claims import CLAIMS, Claims, Holder
from workflow.reuse.matching import is_experiment
from workflow.reuse.published import published_results
from workflow.reuse.search import Found, Reuse


class Sharing:
    """An experiment in a run: it claims what its jobs compute, and knows what others are computing."""

    def __init__(self, reuse: Reuse) -> None:
        self.reuse = reuse
        self._identities: dict[Any, str] = {}

    @cached_property
    def _claims(self) -> Claims:
        return Claims(self.reuse.results, self._takes_from)

    def claim(self, job: Any) -> Holder | None:
        """Claim what a job whose inputs are there would make; if another run has that claim, who."""
        if job not in self._identities:
            self._identities[job] = self.reuse.identity(job)
        return self._claims.acquire(self._identities[job], stores(self.reuse.folders, self.reuse.results))

    def find(self, job: Any) -> Found:
        """What others have of it."""
        return self.reuse.find(job)

    def release(self, job: Any) -> None:
        """Give the claim of a job up, if there is one."""
        if job in self._identities:
            self._claims.release(self._identities.pop(job))

    def close(self) -> None:
        """Give all claims up."""
        self._claims.close()

    def _takes_from(self, results: Path) -> bool:
        """Whether this experiment would take the results in a folder. It waits for another run of its own, too."""
        folders = {Path(folder).resolve() for folder in self.reuse.folders}
        return results == self.reuse.results.resolve() or not folders.isdisjoint((results, results.parent))


def stores(folders: Iterable[str], own: Path) -> list[Path]:
    """The folders that hold these experiments, in which runs tell each other what they compute, sorted.

    Args:
        folders: those of `reuse`; what is published, or holds neither experiments nor claims, is left out.
        own: the results of the experiment itself, which others may look for.
    """
    found = {own.resolve().parent}
    for folder in (Path(name).resolve() for name in folders if published_results(name) is None):
        if is_experiment(folder):
            found.add(folder.parent)
        elif folder.is_dir() and any(path.name == CLAIMS or is_experiment(path) for path in folder.iterdir()):
            found.add(folder)
    return sorted(found)
