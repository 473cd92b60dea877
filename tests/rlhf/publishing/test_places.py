"""Datasets by the places of their files; `datasets` reads them from the front matter."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from rlhf.publishing.places import configs, datasets_of, preferences_place

PLACES = (
    "prompts.parquet",
    "world/prompts.parquet",
    "length_control.parquet",
    "base/responses/train-000.parquet",
    "base/responses/train-010.parquet",
    "base/responses/test-000.parquet",
    "base/preferences/train-000.parquet",
    "base/scores/first/test-000.parquet",
    "a.b-1/training.parquet",
    "a.b-1/evaluation.parquet",
)


def test_each_kind_of_file_is_a_dataset_with_splits() -> None:
    assert datasets_of(PLACES) == {
        "base_preferences": {"train": "base/preferences/train-*.parquet"},
        "a.b-1_evaluation": {"test": "a.b-1/evaluation.parquet"},
        "a.b-1_training": {"train": "a.b-1/training.parquet"},
        "base_responses": {"train": "base/responses/train-*.parquet", "test": "base/responses/test-*.parquet"},
        "base_scores_first": {"test": "base/scores/first/test-*.parquet"},
        "length_control": {"test": "length_control.parquet"},
        "prompts": {"prompts": "prompts.parquet"},
    }
    assert next(iter(datasets_of(PLACES))) == "base_preferences"
    assert preferences_place("base/pairs/train-000.parquet") == "base/preferences/train-000.parquet"


def test_datasets_reads_them(tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    for number, place in enumerate(PLACES):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"number": [number]}), tmp_path / place)
    found = datasets_of(PLACES)
    front_matter = yaml.safe_dump({"configs": configs(found)}, sort_keys=False)
    (tmp_path / "README.md").write_text(f"---\n{front_matter}---\n")
    cache = str(tmp_path / "cache")
    assert get_dataset_config_names(str(tmp_path)) == list(found)
    for name, splits in found.items():
        read = load_dataset(str(tmp_path), name, cache_dir=cache)
        expected = {
            split: [number for number, place in enumerate(PLACES) if fnmatchcase(place, pattern)]
            for split, pattern in splits.items()
        }
        assert {split: rows["number"][:] for split, rows in read.items()} == expected
    assert load_dataset(str(tmp_path), split="train", cache_dir=cache)["number"][:] == [6]
