"""The commits of the hub's models and datasets that an experiment takes where its configuration pins none."""

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
    """What `revisions.yaml` holds: names on the hub and their commits."""

    models: dict[str, str] = Field(default_factory=dict)
    datasets: dict[str, str] = Field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, str]:
        return self.models if kind == "model" else self.datasets


def read_revisions(path: Path) -> Revisions:
    """The commits that a file of an experiment's results names; none where there is no file yet.

    Raises:
        UserError: it is no such file.
    """
    if not path.exists():
        return Revisions()
    try:
        revisions = Revisions.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: this is no list of models and datasets with their commits: {error}") from error
    for name, commit in {**revisions.models, **revisions.datasets}.items():
        if not COMMIT.fullmatch(commit):
            raise UserError(f"{path}: {name}: {commit!r} is no commit (40 digits of 0-9 and a-f)")
    return revisions


def recorded_commit(path: Path | None, kind: Kind, name: str) -> str | None:
    """The commit that the experiment takes of `name`; None, the newest, for a program that got no `--revisions`.

    Raises:
        UserError: the file does not name it.
    """
    if path is None:
        return None
    commit = read_revisions(path).of(kind).get(name)
    if commit is None:
        raise UserError(
            f"{path}: no commit of the {kind} {name!r}. Snakemake looks it up before its first job (not with "
            "--no-hooks). By hand: give its revision in --spec, or leave out --revisions to take the newest."
        )
    return commit
