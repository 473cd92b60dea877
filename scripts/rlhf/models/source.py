"""Where a model comes from: the hub, or a folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import verify_if_sealed
from rlhf.base.settings import Settings
from rlhf.models.revisions import recorded_commit


class ModelSettings(Settings):
    """A model: a hub name, a local folder, or `{results}/...` for one that a rule of the experiment makes."""

    name: str = Field(min_length=1)
    """Hub name (`owner/model`), a local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub repository. Null uses the newest at the first run, and records it."""


class ModelSource(Settings):
    """A model in a program's spec; a folder given by a flag takes precedence."""

    name: str
    revision: str | None = None
    fingerprint: str | None = None
    """Digest of a local folder's files, so that a replaced model is noticed."""


def model_location(
    folder: Path | None, source: ModelSource | None, revisions: Path | None = None
) -> tuple[str, str | None]:
    """(name, revision) of the model to load: the folder of a flag, or else the spec's model.

    Args:
        folder: from the flag.
        source: from the spec.
        revisions: the experiment's `revisions.yaml`, for a hub model whose revision is null.

    Raises:
        UserError: neither is given, the folder holds no model or is damaged, or `revisions` has no entry for it.
    """
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: there is no model in this folder (it has no config.json)")
        return str(folder), None
    if source is None:
        raise UserError("no model: give its folder with the flag, or `model` in --spec")
    verify_if_sealed(Path(source.name))
    if source.revision is None and not Path(source.name).is_dir():
        return source.name, recorded_commit(revisions, "model", source.name)
    return source.name, source.revision


def resolved_revision(name: str, revision: str | None) -> str | None:
    """The hub commit that `name` was loaded from, or None for a folder.

    It is read from the path in the hub's cache: transformers 5 keeps it nowhere else.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    if Path(name).is_dir():
        return None
    return extract_commit_hash(cached_file(name, "config.json", revision=revision), None)
