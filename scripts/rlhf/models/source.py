"""Which model: a name on the hub, or a folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import verify_if_sealed
from rlhf.base.settings import Settings
from rlhf.models.revisions import recorded_commit


class ModelSettings(Settings):
    """A model: a hub name, a local folder, or `{results}/...`, a folder that a rule of this experiment makes."""

    name: str = Field(min_length=1)
    """Hub name (`owner/model`), a local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub's repository. Null takes the newest at the first run and records which one it was."""


class ModelSource(Settings):
    """A model as the programs get it: a flag with a folder, or, where there is none, this."""

    name: str
    revision: str | None = None
    fingerprint: str | None = None
    """Digest of a local folder's files, so that an exchanged model is noticed."""


def model_location(
    folder: Path | None, source: ModelSource | None, revisions: Path | None = None
) -> tuple[str, str | None]:
    """Name and revision to load: the folder of a flag, or the spec's own model.

    Args:
        revisions: the experiment's file of commits, for a model of the hub whose revision is null.

    Raises:
        UserError: there is neither, the folder holds no model, it is damaged, or `revisions` does not name it.
    """
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model in this folder (it has no config.json)")
        return str(folder), None
    if source is None:
        raise UserError("no model: give its folder by the flag, or `model` in --spec")
    verify_if_sealed(Path(source.name))
    if source.revision is None and not Path(source.name).is_dir():
        return source.name, recorded_commit(revisions, "model", source.name)
    return source.name, source.revision


def resolved_revision(name: str, revision: str | None) -> str | None:
    """The commit of the hub's repository that `name` was loaded from, or None for a folder.

    It is read from where the file lies in the hub's cache: transformers 5 keeps it nowhere else.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    if Path(name).is_dir():
        return None
    return extract_commit_hash(cached_file(name, "config.json", revision=revision), None)
