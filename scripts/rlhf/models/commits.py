"""Which commits of the hub's models stand behind artifacts; files of different ones do not go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import find_provenance
from rlhf.base.errors import UserError

MADE_BY = {"responses": "policy", "logprobs": "policy", "rewards": "reward model"}
"""Artifact and the part of the model that makes it."""


def commits_behind(path: Path) -> dict[str, str]:
    """Commits behind a file by the model's part, `policy` for example; a model from a folder has none.

    They are in its provenance: `model_revision` of what made it, `revisions` of what made its inputs.
    """
    origin: Mapping[str, Any] = find_provenance(path) or {}
    found = dict(origin.get("revisions", {}))
    maker = MADE_BY.get(origin.get("artifact", ""))
    if maker and origin.get("model_revision"):
        found[maker] = origin["model_revision"]
    return found


def common_commits(files: Iterable[Path], loaded: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The one commit of each model behind files, by its part.

    Args:
        loaded: the commit of a model that is about to be loaded, by its part; None for one from a folder.

    Raises:
        UserError: two files, or a file and the loaded model, are of different commits.
    """
    sources = {str(path): commits_behind(path) for path in files}
    for part, commit in (loaded or {}).items():
        if commit is not None:
            sources[f"the {part} to be loaded"] = {part: commit}
    first: dict[str, tuple[str, str]] = {}
    for where, commits in sources.items():
        for part, commit in commits.items():
            known_where, known = first.setdefault(part, (where, commit))
            if commit != known:
                raise UserError(
                    f"two revisions of the {part} are mixed: {known_where} is of commit {known}, and {where} of commit "
                    f"{commit}. Keep one: revisions.yaml in the results, or the configuration, says which. Delete what "
                    "the other made, and run the pipeline again."
                )
    return {part: commit for part, (_, commit) in first.items()}
