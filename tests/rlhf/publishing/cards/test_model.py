"""The card of a policy, and the model that its adapters name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.base.provenance import digest
from rlhf.models.source import ModelSource
from rlhf.prefetch.settings import HubDataset
from rlhf.publishing.cards.facts import Facts
from rlhf.publishing.cards.model import ADAPTER, adapter_configuration, model_card
from rlhf.publishing.settings import PublishSettings, PublishSpec, Source
from synthetic_experiment import write_experiment

COMMIT, PROMPTS_COMMIT = "c" * 40, "d" * 40
ON_HUB = [
    Source(key="base_model", model=ModelSource(name="open/policy", revision=COMMIT)),
    Source(key="prompts", dataset=HubDataset(name="open/prompts", split="train", revision=PROMPTS_COMMIT)),
]
MADE_HERE = [
    Source(key="base_model", made_here="world/policy"),
    Source(key="prompts", made_here="world/prompts.parquet"),
]
UPLOADED = PublishSettings(upload=True, namespace="my-org")
PAIRS = "base/pairs/train-000.parquet"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_experiment(tmp_path, ("base", "rebel-1", "rebel-2"))
    return tmp_path


def facts(results: Path, sources: list[Source] = ON_HUB, settings: PublishSettings = UPLOADED) -> Facts:
    policies = ["rebel-1", "rebel-2"]
    spec = PublishSpec(experiment="mine", policies=policies, settings=settings, sources=sources, configuration={})
    return Facts(results, ("prompts.parquet", PAIRS), spec)


def origin(results: Path, policy: str, lora: bool = False, **recipe: Any) -> dict[str, Any]:
    parent = {"rebel-1": "base", "rebel-2": "rebel-1"}[policy]
    spec = {
        "lineage": {"parent": parent, "base_model": "{results}/x", "dataset": "{results}/y"},
        "loss": {"name": "rebel", "eta": 10.0},
        "recipe": {"epochs": 1, "pairs": None, "lora": {"rank": 4} if lora else None, **recipe},
        "precision": "float32",
        "seed": 1,
    }
    return {"spec": spec, "code": "1234", "inputs": {"pairs": [digest(results / PAIRS)]}, "versions": {"torch": "2.9"}}


def checkpoint(results: Path, policy: str, made: dict[str, Any]) -> Path:
    with whole_folder(results / policy / "checkpoint") as folder:
        write_folder_provenance(folder, made)
        if made["spec"]["recipe"]["lora"]:
            (folder / "adapter").mkdir()
            (folder / ADAPTER).write_text(json.dumps({"r": 4, "base_model_name_or_path": None}))
    return results / policy / "checkpoint"


def read(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and Markdown of a card."""
    _, front_matter, body = text.split("---\n", 2)
    return yaml.safe_load(front_matter), body


def test_a_card_states_where_a_policy_comes_from(results: Path) -> None:
    made = origin(results, "rebel-1")
    folder = checkpoint(results, "rebel-1", made)
    front_matter, body = read(model_card(facts(results), "rebel-1", folder, made))
    assert front_matter == {
        "base_model": "open/policy",
        "datasets": ["open/prompts", "my-org/mine"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rlhf", "rebel"],
    }
    assert f"[open/policy](https://huggingface.co/open/policy) | {COMMIT} | unknown |" in body
    assert f"[open/prompts](https://huggingface.co/datasets/open/prompts) | {PROMPTS_COMMIT} | unknown |" in body
    assert "trained by `rebel` on 24 preference pairs of responses of `base`" in body
    assert "| rebel-1 | reward | 0.5 | 72.5 [68.5, 76.5] | 70.5 [65.5, 75.5] | 40 |" in body
    assert digest(folder) in body
    assert "1234" in body
    assert "{results}" not in body


def test_a_licence_that_is_known_is_stated(results: Path, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/README.md").write_text("---\nlicense: other\nlicense_name: llama3\n---\n")
    local = ModelSource(name=str(tmp_path / "local"), fingerprint="abcd")
    made = origin(results, "rebel-1", pairs=5)
    known = facts(results, [Source(key="base_model", model=local), MADE_HERE[1]], PublishSettings())
    front_matter, body = read(model_card(known, "rebel-1", checkpoint(results, "rebel-1", made), made))
    assert front_matter == {
        "license": "other",
        "license_name": "llama3",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rlhf", "rebel"],
    }
    assert f"a local folder, `{tmp_path / 'local'}` | abcd | llama3 |" in body
    assert "on 5 preference pairs" in body
    assert "made by the experiment itself: `world/prompts.parquet` in the dataset" in body


@pytest.mark.parametrize(
    ("policy", "sources", "settings", "name", "revision", "words"),
    [
        ("rebel-1", ON_HUB, PublishSettings(), "open/policy", COMMIT, "loaded onto `open/policy`"),
        ("rebel-1", MADE_HERE, UPLOADED, None, None, "loaded onto `world/policy` of the dataset"),
        ("rebel-2", ON_HUB, UPLOADED, "my-org/mine-rebel-1", None, "loaded onto `my-org/mine-rebel-1`"),
        ("rebel-2", ON_HUB, PublishSettings(), None, None, "loaded onto `rebel-1`, which is published beside it"),
    ],
)
def test_adapters_name_a_model_that_anyone_can_load(
    policy: str,
    sources: list[Source],
    settings: PublishSettings,
    name: str | None,
    revision: str | None,
    words: str,
    results: Path,
) -> None:
    made, of = origin(results, policy, lora=True), facts(results, sources, settings)
    folder = checkpoint(results, policy, made)
    front_matter, body = read(model_card(of, policy, folder, made))
    assert front_matter["tags"] == ["rlhf", "rebel", "lora"]
    assert words in body
    text = adapter_configuration(of, folder, made)
    if name is None:
        assert text is None
    else:
        assert text is not None
        assert json.loads(text) == {"r": 4, "base_model_name_or_path": name, "revision": revision}


def test_a_policy_without_adapters_has_no_section_of_them(results: Path) -> None:
    made = origin(results, "rebel-2")
    folder = checkpoint(results, "rebel-2", made)
    assert "Adapters" not in model_card(facts(results), "rebel-2", folder, made)
    assert adapter_configuration(facts(results), folder, made) is None
