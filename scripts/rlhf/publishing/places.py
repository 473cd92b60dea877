"""Which datasets the files of the results make, and their names and splits for `datasets.load_dataset`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

EXPERIMENT_FILE = "experiment.yaml"
"""The configuration, in the dataset's folder."""
PREFERENCES_FOLDER = "preferences"
DEFAULT = f"base_{PREFERENCES_FOLDER}"
"""The dataset that `load_dataset` takes if none is named: what the first iteration is trained on."""
SPLITS = {"prompts": "prompts", "contamination": "dropped", "training": "train"}
"""The split of a dataset that is one file; the others are about test prompts. `prompts` are those of both splits."""


def preferences_place(pairs: str) -> str:
    """Where the preferences of a file of pairs lie."""
    return pairs.replace("/pairs/", f"/{PREFERENCES_FOLDER}/")


def datasets_of(places: Iterable[str]) -> dict[str, dict[str, str]]:
    """Name of a dataset -> split -> pattern of its files.

    Args:
        places: paths of Parquet files in the dataset's folder: `prompts.parquet`, `base/responses/train-000.parquet`,
            `rebel-1/training.parquet`. Those below `world` are no datasets, but what the experiment is made from.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for place in places:
        path = PurePosixPath(place)
        if path.parts[0] == "world":
            continue
        if len(path.parts) > 2:  # a part
            split = path.stem.rsplit("-", 1)[0]
            found["_".join(path.parts[:-1])][split] = f"{path.parent}/{split}-*.parquet"
        else:
            found["_".join(path.with_suffix("").parts)][SPLITS.get(path.stem, "test")] = place
    return {name: found[name] for name in sorted(found, key=lambda name: (name != DEFAULT, name))}


def configs(datasets: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """The `configs` of a card's front matter."""
    return [
        {
            "config_name": name,
            **({"default": True} if name == DEFAULT else {}),
            "data_files": [{"split": split, "path": splits[split]} for split in sorted(splits, reverse=True)],
        }
        for name, splits in datasets.items()
    ]
