"""The card of the dataset states counts, what was dropped, sources and evaluation."""

from __future__ import annotations

from pathlib import Path

import yaml

from rlhf.base.files.folders import whole_folder
from rlhf.base.provenance import digest
from rlhf.models.source import ModelSource
from rlhf.pairs.schema import PAIRS
from rlhf.prefetch.settings import HubDataset
from rlhf.publishing.cards.dataset import dataset_card, settings_text
from rlhf.publishing.cards.facts import Facts
from rlhf.publishing.places import datasets_of
from rlhf.publishing.settings import PublishSettings, PublishSpec, Source
from rlhf.rewards.schema import REWARDS
from synthetic_experiment import write_experiment

COMMIT, JUDGE_COMMIT = "c" * 40, "d" * 40
PAIRS_PLACES = ("base/pairs/train-000.parquet", "base/pairs/train-001.parquet")
PLACES = ("prompts.parquet", *PAIRS_PLACES, "base/rewards/test-000.parquet", "length_control.parquet")
FILES = {"prompts.parquet": 24, "base/pairs/train-000.parquet": 7, "base/pairs/train-001.parquet": 5}


def facts(results: Path, settings: PublishSettings) -> Facts:
    write_experiment(results, ("base", "rebel-1"))
    for part, (kept, ties) in enumerate(((7, 2), (5, 1))):
        counts = {"pairs": kept, "dropped": {"tie": ties, "identical": 0}}
        PAIRS.write(results / f"base/pairs/train-00{part}.parquet", [], {"spec": {}, "counts": counts})
    with whole_folder(results / "rebel-1/checkpoint") as folder:
        (folder / "weights").write_text("weights")
    sources = [
        Source(key="base_model", model=ModelSource(name="open/policy")),
        Source(key="prompts", dataset=HubDataset(name="open/prompts", split="train", revision="main")),
        Source(key="rewards", model=ModelSource(name="open/judge", revision="main")),
    ]
    REWARDS.write(results / "base/rewards/test-000.parquet", [], {"spec": {}, "model_revision": JUDGE_COMMIT})
    (results / "revisions.yaml").write_text(f'models: {{"open/policy": "{COMMIT}"}}\n')
    configuration = {"experiment": "mine", "seed": 1, "base_model": {"name": "open/policy"}}
    spec = PublishSpec(
        experiment="mine", policies=["rebel-1"], settings=settings, sources=sources, configuration=configuration
    )
    return Facts(results, PLACES, spec)


def test_it_states_what_is_in_it_and_where_it_comes_from(tmp_path: Path) -> None:
    known = facts(tmp_path, PublishSettings())
    text = dataset_card(known, datasets_of(FILES), FILES, "path/to/this/folder")
    front_matter = yaml.safe_load(text.split("---\n")[1])
    assert front_matter["pretty_name"] == "mine"
    assert [config["config_name"] for config in front_matter["configs"]] == ["base_pairs", "prompts"]
    assert "license" not in front_matter
    assert "| `base_pairs` | train 12 | chosen and rejected draws, as training reads them |" in text
    assert "| `prompts` | prompts 24 |" in text
    assert f"| `prompts.parquet` | {digest(tmp_path / 'prompts.parquet')} |" in text
    assert f"| `rebel-1` | {digest(tmp_path / 'rebel-1/checkpoint')} |" in text
    assert "| base/pairs | dropped: tie | 3 |\n| base/pairs | pairs | 12 |\n" in text
    assert "identical" not in text
    assert f"| `base_model` | [open/policy](https://huggingface.co/open/policy) | {COMMIT} | unknown |" in text
    assert "| `prompts` | [open/prompts](https://huggingface.co/datasets/open/prompts) | main | unknown |" in text
    assert f"| `rewards` | [open/judge](https://huggingface.co/open/judge) | {JUDGE_COMMIT} | unknown |" in text
    assert "| rebel-1 | reward | 0.5 | 72.5 [68.5, 76.5] | 70.5 [65.5, 75.5] | 40 |" in text
    assert f"```yaml\n{settings_text(known)}```" in text
    assert yaml.safe_load(settings_text(known)) == known.spec.configuration
    assert (
        "snakemake --configfile path/to/this/folder/experiment.yaml --config 'reuse=[\"path/to/this/folder\"]'" in text
    )


def test_on_the_hub_it_says_how_to_get_it(tmp_path: Path) -> None:
    known = facts(tmp_path, PublishSettings(upload=True, namespace="my-org"))
    text = dataset_card(known, datasets_of(FILES), FILES, "my-org/mine")
    assert 'load_dataset("my-org/mine", split="train")' in text
    arguments = "--configfile experiment.yaml --config 'reuse=[\"hub:my-org/mine\"]'"
    for line in (
        "hf download --repo-type dataset my-org/mine experiment.yaml --local-dir .\n",
        f"snakemake prefetch {arguments}",
        f"snakemake {arguments}\n",
    ):
        assert line in text
