"""The files of a local dataset, which is one file, or a folder like a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError

SUFFIXES = (".parquet", ".jsonl", ".json")
"""Suffixes of local datasets: Parquet, or JSON lines."""
CARD = "README.md"
SPLITS = ("train", "validation", "test", "selection")
"""Files whose names begin with one of these are of that split; in a folder without any, all files are `train`."""


def is_local(dataset: str) -> bool:
    """Whether a name is a local file or folder: it has the suffix of a file, even if there is none, or it exists."""
    return Path(dataset).suffix in SUFFIXES or Path(dataset).exists()


def local_files(dataset: Path, subset: str | None, split: str) -> list[Path]:
    """The files of a local dataset: itself, or those of a split of a folder.

    Which files are a split is said by the `configs` in the folder's README.md, as on the hub, else by their names:
    `train-000.parquet` and `train-001.parquet` are `train`. (Not by `datasets`, which takes seconds in every plan.)

    Args:
        split: `train+test` takes both.

    Raises:
        UserError: the folder has no data files, or no such subset or split.
    """
    if not dataset.is_dir():
        return [dataset]
    found = _splits_by_card(dataset, subset) or _splits_by_name(dataset)
    if not found:
        raise UserError(f"{str(dataset)!r}: a folder without files that end in {', '.join(SUFFIXES)}")
    for name in split.split("+"):
        if not found.get(name):
            raise UserError(f"{str(dataset)!r}: the folder has no split {name!r}; it has {', '.join(map(repr, found))}")
    return [path for name in split.split("+") for path in found[name]]


def _splits_by_name(folder: Path) -> dict[str, list[Path]]:
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    found = {split: [path for path in files if path.name.startswith(split)] for split in SPLITS}
    named = {split: paths for split, paths in found.items() if paths}
    return named or ({"train": files} if files else {})


def _splits_by_card(folder: Path, subset: str | None) -> dict[str, list[Path]]:
    """The splits of a subset by the card's `configs`; empty if it has none.

    Raises:
        UserError: there is no such subset.
    """
    from huggingface_hub import metadata_load

    card = folder / CARD
    configs = ((metadata_load(card) or {}) if card.is_file() else {}).get("configs", [])
    if not configs:
        return {}
    named = {config["config_name"]: config for config in configs}
    defaults = [name for name, config in named.items() if config.get("default") or name == "default"]
    wanted = subset or next(iter(defaults or (named if len(named) == 1 else [])), None)
    if wanted not in named:
        raise UserError(f"{str(folder)!r}: the folder has no subset {wanted!r}; it has {', '.join(map(repr, named))}")
    patterns = _patterns(named[wanted].get("data_files", []))
    return {split: sorted(path for each in found for path in folder.glob(each)) for split, found in patterns.items()}


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """Split -> patterns of its files, of each form that a card may have."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    found: dict[str, list[str]] = {}
    for entry in entries:
        split, paths = (entry["split"], entry["path"]) if isinstance(entry, dict) else ("train", entry)
        found.setdefault(split, []).extend([paths] if isinstance(paths, str) else paths)
    return found
