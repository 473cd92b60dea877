"""The hub commits of models and datasets that an experiment uses where its configuration pins no revision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from rlhf.base.errors import UserError
from rlhf.base.settings import Settings

Kind = Literal["model", "dataset"]
COMMIT = re.compile(r"[0-9a-f]{40}")


class Revisions(Settings):
    """The contents of `revisions.yaml`: hub name -> commit."""

    models: dict[str, str] = Field(default_factory=dict)
    datasets: dict[str, str] = Field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, str]:
        return self.models if kind == "model" else self.datasets


def read_revisions(path: Path) -> Revisions:
    """Read an experiment's `revisions.yaml`; empty if it does not exist yet.

    Raises:
        UserError: the file is not valid.
    """
    if not path.exists():
        return Revisions()
    try:
        revisions = Revisions.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: this is not a list of models and datasets with their commits: {error}") from error
    for name, commit in {**revisions.models, **revisions.datasets}.items():
        if not COMMIT.fullmatch(commit):
            raise UserError(f"{path}: {name}: {commit!r} is not a commit (40 hexadecimal digits)")
    return revisions


def recorded_commit(path: Path | None, kind: Kind, name: str) -> str | None:
    """The commit of `name` that the experiment uses; None (the newest) if the program got no `--revisions`.

    Raises:
        UserError: the file has no entry for it.
    """
    if path is None:
        return None
    commit = read_revisions(path).of(kind).get(name)
    if commit is None:
        raise UserError(
            f"{path}: no commit of the {kind} {name!r}. Snakemake looks it up before its first job (unless run with "
            "--no-hooks). By hand, give its revision in --spec, or omit --revisions to use the newest."
        )
    return commit
