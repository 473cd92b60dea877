"""Published datasets as results to reuse: the folder that `publish` makes, or `hub:owner/name[@commit]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.prefetch.results import fetched_results
from rlhf.prefetch.settings import PublishedResults
from rlhf.publishing.places import EXPERIMENT_FILE
from rlhf.publishing.repositories import DATASET

ON_HUB = "hub:"
NAMED = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def published_results(entry: str) -> PublishedResults | None:
    """The published dataset that an entry of `reuse` names; None for other results.

    Raises:
        UserError: the entry starts as one on the hub, and is none.
    """
    if entry.startswith(ON_HUB):
        found = NAMED.fullmatch(entry)
        if found is None:
            raise UserError(f"{entry!r} is no dataset of the hub: allowed are `hub:owner/name[@commit]`, and a folder")
        return PublishedResults(name=found["name"], on_hub=True, revision=found["revision"])
    for folder in (Path(entry), Path(entry, DATASET)):
        if (folder / EXPERIMENT_FILE).is_file():
            return PublishedResults(name=str(folder), on_hub=False)
    return None


def local_folders(entries: Iterable[str]) -> list[str]:
    """The folders of the entries of `reuse`; those on the hub are in its cache on this machine.

    Raises:
        UserError: a dataset is not in the cache.
    """
    folders = []
    for number, entry in enumerate(entries):
        published = published_results(entry)
        folder = fetched_results(published) if published else Path(entry)
        if folder is None:
            raise UserError(
                f"reuse.{number}: {entry} is not in the hub's cache on this machine: `snakemake prefetch`, with the "
                "same flags, downloads it"
            )
        folders.append(str(folder))
    return folders
