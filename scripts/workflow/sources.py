"""Which names are local files, and whether the run was started with conda."""

import json
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.provenance import digest
from rlhf.datasets.files import SUFFIXES
from rlhf.models.source import ModelSource

LONGEST_HUB_NAME = 200
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_source(name: str, revision: str | None) -> ModelSource:
    """A local folder with its fingerprint, or a hub name with its revision.

    Raises:
        UserError: the folder holds no model, or the name is neither a folder nor a hub name.
    """
    folder = Path(name)
    if _exists(folder.is_dir):
        _check_configuration(folder)
        if revision is not None:
            raise UserError(f"{name!r}: a local folder has no revision; remove `revision: {revision}`")
        return ModelSource(name=name, fingerprint=_cached_digest(folder.resolve()))
    _check_hub_name(name)
    return ModelSource(name=name, revision=revision)


def local_fingerprint(dataset: str) -> str | None:
    """Digest of a local dataset, a file or folder, or None for a hub dataset.

    Raises:
        UserError: there is no such file, it has another suffix, or the name is neither a file nor a hub name.
    """
    path = Path(dataset)
    if _exists(path.is_file):
        if path.suffix not in SUFFIXES:
            raise UserError(f"{dataset!r}: a local dataset is a file with one of {', '.join(SUFFIXES)}")
        return _cached_digest(path.resolve())
    if path.suffix in SUFFIXES:
        raise UserError(f"{dataset!r}: there is no such file")
    if _exists(path.is_dir):
        return _cached_digest(path.resolve())
    _check_hub_name(dataset)
    return None


def folder_fingerprint(folder: str) -> str:
    """Digest of the files of a folder.

    Raises:
        UserError: there is no such folder.
    """
    path = Path(folder)
    if not _exists(path.is_dir):
        raise UserError(f"{folder!r}: there is no such folder")
    return _cached_digest(path.resolve())


def _exists(check: Callable[[], bool]) -> bool:
    """The result of `check`; False for a name that is too long for a file."""
    try:
        return check()
    except OSError:
        return False


def _check_configuration(folder: Path) -> None:
    """Raise UserError if a folder has no valid `config.json`."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"'{folder}': there is no model in this folder (it has no config.json)")
    try:
        readable = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except ValueError:
        readable = False
    if not readable:
        raise UserError(f"'{folder}': its config.json is damaged: it is no JSON object. Copy the model again.")


def require_conda(environments: str, methods: Collection[object]) -> None:
    """Refuse to run an experiment with `environments: conda` without `--sdm conda`.

    Its programs would not find their libraries, and Snakemake would rerun all existing results.

    Raises:
        UserError: names the flag to add.
    """
    if environments == "conda" and not _has_conda(methods):
        raise UserError("this experiment runs in conda environments (`environments: conda`): add `--sdm conda`")


def refuse_conda_for_embedded(environments: str, methods: Collection[object]) -> None:
    """Refuse to run an experiment with `environments: embedded` with `--sdm conda`.

    Raises:
        UserError: names the flag to omit.
    """
    if environments == "embedded" and _has_conda(methods):
        raise UserError("this experiment runs without conda (`environments: embedded`): leave out `--sdm conda`")


def _has_conda(methods: Collection[object]) -> bool:
    return any("conda" in str(method).lower() for method in methods)


def _check_hub_name(name: str) -> None:
    if not HUB_NAME.fullmatch(name) or name.startswith(".") or len(name) > LONGEST_HUB_NAME:
        shown = name if len(name) <= LONGEST_HUB_NAME else f"{name[:LONGEST_HUB_NAME]}..."
        raise UserError(f"{shown!r}: there is no such folder or file, and it is no hub name (owner/name)")


@cache
def _cached_digest(path: Path) -> str:
    return digest(path)
