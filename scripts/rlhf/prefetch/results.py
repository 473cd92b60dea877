"""Published results of other experiments: their download, and the hub commits that they were made with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import SUMS
from rlhf.base.files.full_disks import named_full_disk
from rlhf.models.revisions import Revisions, read_revisions
from rlhf.prefetch.downloads import gated
from rlhf.prefetch.settings import PublishedResults

REVISIONS = "revisions.yaml"
"""The file with these commits, in the results and in what is published of them."""


def fetch_results(results: PublishedResults) -> str:
    """Download all files of a published dataset to the hub's cache, and return its commit.

    Raises:
        UserError: there is no such dataset, the token has no access, or the disk is full.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        with named_full_disk(Path(constants.HF_HUB_CACHE)):
            folder = snapshot_download(results.name, repo_type="dataset", revision=results.revision)
    except GatedRepoError as error:
        raise UserError(gated("dataset", results.name)) from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(f"dataset {results.name!r} at revision {results.revision or 'main'!r}: {error}") from error
    return Path(folder).name


def fetched_results(results: PublishedResults) -> Path | None:
    """The folder of published results on this machine; None if not all of it was downloaded. The hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not results.on_hub:
        return Path(results.name)
    try:
        folder = Path(
            snapshot_download(results.name, repo_type="dataset", revision=results.revision, local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None
    return folder if _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    """Whether a folder has all files that its `SHA256SUMS` lists; the hub's cache may have some alone."""
    sums = folder / SUMS
    return sums.is_file() and all((folder / line.split("  ", 1)[1]).is_file() for line in sums.read_text().splitlines())


def stated_revisions(published: Iterable[PublishedResults]) -> Revisions:
    """The hub commits that published results were made with; of several, the first that states one counts.

    Raises:
        UserError: the hub has no such results, or cannot be reached.
    """
    found = Revisions()
    for results in published:
        path = _revisions_file(results)
        stated = read_revisions(path) if path else Revisions()
        found = Revisions(models=stated.models | found.models, datasets=stated.datasets | found.datasets)
    return found


def _revisions_file(results: PublishedResults) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError

    folder = fetched_results(results)
    if folder is not None:
        return folder / REVISIONS
    try:
        return Path(hf_hub_download(results.name, REVISIONS, repo_type="dataset", revision=results.revision))
    except RemoteEntryNotFoundError:
        return None  # all their models are pinned, or local
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"dataset {results.name!r}: the commits that its results were made with cannot be read: {error}. Download "
            "it where there is internet access (`snakemake prefetch`)."
        ) from error
