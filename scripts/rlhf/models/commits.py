"""Which hub commits of models artifacts were made with; files of different commits must not be mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import find_provenance
from rlhf.base.errors import UserError

MADE_BY = {"responses": "policy", "logprobs": "policy", "rewards": "reward model"}
"""Artifact -> role of the model that makes it."""


def commits_behind(path: Path) -> dict[str, str]:
    """Role of a model (such as `policy`) -> the commit that a file was made with; models from a folder have none.

    Read from the provenance: `model_revision` is the model that made the file, `revisions` those behind its inputs.
    """
    origin: Mapping[str, Any] = find_provenance(path) or {}
    found = dict(origin.get("revisions", {}))
    maker = MADE_BY.get(origin.get("artifact", ""))
    if maker and origin.get("model_revision"):
        found[maker] = origin["model_revision"]
    return found


def common_commits(files: Iterable[Path], loaded: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Role of a model -> the commit that all files share.

    Args:
        loaded: role -> commit of a model that is about to be loaded; None for one from a folder.

    Raises:
        UserError: two files, or a file and the loaded model, have different commits.
    """
    sources = {str(path): commits_behind(path) for path in files}
    for role, commit in (loaded or {}).items():
        if commit is not None:
            sources[f"the {role} to be loaded"] = {role: commit}
    first: dict[str, tuple[str, str]] = {}
    for where, commits in sources.items():
        for role, commit in commits.items():
            known_where, known = first.setdefault(role, (where, commit))
            if commit != known:
                raise UserError(
                    f"two revisions of the {role} are mixed: {known_where} has commit {known}, but {where} has commit "
                    f"{commit}. Keep the one in the results' revisions.yaml or in the configuration: delete what the "
                    "other made, and run the pipeline again."
                )
    return {role: commit for role, (_, commit) in first.items()}
