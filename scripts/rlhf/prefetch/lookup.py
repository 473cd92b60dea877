"""Looks up the hub commits that an experiment uses, once, before its first job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.files.temporary_files import temporary_beside
from rlhf.models.revisions import COMMIT, Kind, Revisions, read_revisions
from rlhf.prefetch.downloads import gated
from rlhf.prefetch.results import stated_revisions
from rlhf.prefetch.settings import PrefetchSpec

SECONDS = 60.0
"""Timeout for an answer of the hub."""
HEADER = """\
# The hub commits that this experiment uses where its configuration has a null revision: the newest when it first ran.
# All its jobs use them, whatever is pushed later. To pin one in the configuration, write it as the value of the key in
# the comment behind it; that reruns the stages that load it.
"""


def resolve_revisions(spec: PrefetchSpec, path: Path) -> None:
    """Add to `path` a commit for each model and dataset with a null revision; existing entries stay.

    It is the commit that published results were made with, where the experiment reuses such, else the newest.

    A lock makes concurrent runs agree on one answer. If the file is complete, the hub is not asked.

    Raises:
        UserError: the hub has no such repository, requires a token, or cannot be reached.
    """
    if not _missing(spec, read_revisions(path)):
        return
    from huggingface_hub.utils import WeakFileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path.with_name(f".{path.name}.lock")):
        revisions, stated = read_revisions(path), stated_revisions(spec.results.values())
        for kind, name, key in _missing(spec, revisions):
            if name not in revisions.of(kind):
                revisions.of(kind)[name] = stated.of(kind).get(name) or newest_commit(kind, name, key)
        with temporary_beside(path) as temporary:
            temporary.write_text(_as_text(revisions, spec))
            temporary.replace(path)


def _unpinned(spec: PrefetchSpec) -> Iterator[tuple[Kind, str, str]]:
    """(kind, name, configuration key) of each model and dataset with a null revision."""
    for key, model in spec.models.items():
        if model.revision is None:
            yield "model", model.name, key
    for key, dataset in spec.datasets.items():
        if dataset.revision is None:
            yield "dataset", dataset.name, key


def _missing(spec: PrefetchSpec, revisions: Revisions) -> list[tuple[Kind, str, str]]:
    return [(kind, name, key) for kind, name, key in _unpinned(spec) if name not in revisions.of(kind)]


def _as_text(revisions: Revisions, spec: PrefetchSpec) -> str:
    """The file's YAML, with the configuration keys that pin each commit in a comment."""
    keys: dict[tuple[Kind, str], list[str]] = {}
    for kind, name, key in _unpinned(spec):
        keys.setdefault((kind, name), []).append(key)
    lines = []
    for kind in ("model", "dataset"):
        lines += [f"{kind}s:"] if revisions.of(kind) else []
        for name, commit in sorted(revisions.of(kind).items()):
            pins = ", ".join(keys.get((kind, name), ()))
            lines.append(f"  {json.dumps(name)}: {json.dumps(commit)}" + (f"  # {pins}" if pins else ""))
    return HEADER + "\n".join(lines) + "\n"


def newest_commit(kind: Kind, name: str, key: str) -> str:
    """The newest commit of a repository that this user can read; offline, the newest in the local cache.

    Args:
        key: the configuration key that pins it, for messages.

    Raises:
        UserError: there is no such repository, it is gated, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HTTPError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return _cached_commit(kind, name, key, Path(constants.HF_HUB_CACHE))
    hub = HfApi()
    try:
        found = hub.repo_info(name, repo_type=kind, timeout=SECONDS)
        if found.gated:
            hub.auth_check(name, repo_type=kind)  # the hub shows a gated repository to anyone
    except GatedRepoError as error:
        raise UserError(gated(kind, name)) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{kind} {name!r}: the hub has none of that name. If it is private, set your token in the environment "
            "(HF_TOKEN=...)"
        ) from error
    except (HfHubHTTPError, HTTPError) as error:
        raise UserError(
            f"{kind} {name!r}: cannot look up its newest commit: {error}. Pin it (`{key}`), or download it where there "
            "is internet access (`snakemake prefetch`)."
        ) from error
    return str(found.sha)


def _cached_commit(kind: Kind, name: str, key: str, cache: Path) -> str:
    """The commit of `main` when the cache was last updated."""
    from huggingface_hub.file_download import repo_folder_name

    reference = cache / repo_folder_name(repo_id=name, repo_type=kind) / "refs" / "main"
    commit = reference.read_text().strip() if reference.is_file() else ""
    if not COMMIT.fullmatch(commit):
        raise UserError(
            f"{kind} {name!r}: HF_HUB_OFFLINE is set, and the hub's cache on this machine ({cache}) does not have it. "
            f"Download it where there is internet access (`snakemake prefetch`), or pin a cached commit (`{key}`)."
        )
    return commit
