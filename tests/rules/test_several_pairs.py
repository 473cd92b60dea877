"""The micro experiment with four pairs per prompt, by REBEL in two iterations and by DPO, run for real."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from experiments import patch
from project import WORLD, Project, copy_with
from rlhf.base.artifacts import read_provenance
from rlhf.logprobs.schema import logprob_artifact
from rlhf.pairs.schema import pair_artifact
from rlhf.publishing.preferences import preference_artifact
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.training.schema import TRAINING
from test_logprobs import padded_logprobs

pytestmark = pytest.mark.slow
FOUR: dict[str, Any] = {
    "responses.draws": 5,
    "pairs": {"per_prompt": 4, "pool": ["parent", "base"]},
    "training.pairs_of": "accumulated",
    "training.earlier_share": 0.5,
    "variants": {
        "rebel": {"loss": {"name": "rebel", "eta": 10.0}, "iterations": 2},
        "dpo": {"loss": {"name": "dpo", "beta": 0.1}},
    },
}


@pytest.fixture(scope="module")
def four(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_with(finished_micro, tmp_path_factory.mktemp("four") / "project", WORLD)
    project.run(configfile=project.write_config(patch(project.read_config(), FOUR), "four"))
    project.run("publish", configfile="config/four.yaml")
    return project


def results(project: Project) -> Path:
    return project.folder / "results/micro"


@pytest.mark.parametrize("part", ["train-000", "train-001", "test-000"])
def test_the_best_response_is_paired_with_each_of_the_others(part: str, four: Project) -> None:
    folder = results(four) / "base"
    ids = {
        (row["prompt_id"], row["draw"]): row["response_token_ids"]
        for row in RESPONSES.read(folder / f"responses/{part}.parquet").to_pylist()
        if row["finish_reason"] == "stop"
    }
    rewards: dict[str, dict[int, float]] = {}
    for row in REWARDS.read(folder / f"rewards/{part}.parquet").to_pylist():
        if row["reward"] is not None and (row["prompt_id"], row["draw"]) in ids:
            rewards.setdefault(row["prompt_id"], {})[row["draw"]] = row["reward"]
    path = folder / f"pairs/{part}.parquet"
    found = pair_artifact(path).read(path).to_pylist()
    assert found
    for prompt, rows in groupby(found, key=lambda row: row["prompt_id"]):
        scores = rewards.pop(prompt)
        pairs = [(row["chosen_draw"], row["rejected_draw"]) for row in rows]
        best = min(draw for draw, reward in scores.items() if reward == max(scores.values()))
        others = sorted(scores.keys() - {best}, key=lambda draw: (scores[draw], draw))
        kept = [draw for draw in others if scores[draw] < scores[best] and ids[prompt, draw] != ids[prompt, best]]
        assert pairs == [(best, draw) for draw in kept]
    counts = read_provenance(path)["counts"]
    assert counts["pairs"] == len(found)
    assert counts["prompts"] == 4 == counts["paired_prompts"] + sum(counts["dropped"].values())
    assert counts["paired_prompts"] == len({row["prompt_id"] for row in found})


def test_log_probabilities_are_those_of_the_reference(four: Project) -> None:
    model = AutoModelForCausalLM.from_pretrained(results(four) / "world/policy", dtype=torch.float32)
    path = results(four) / "base/pairs/train-000.parquet"
    artifact = pair_artifact(path)
    pairs = artifact.read(path).to_pylist()
    stored = logprob_artifact(artifact).read(results(four) / "base/logprobs/train-000.parquet").to_pylist()
    for side in ("chosen", "rejected"):
        expected = padded_logprobs(model, [(pair["prompt_token_ids"], pair[f"{side}_token_ids"]) for pair in pairs])
        assert [row[f"{side}_logprob"] for row in stored] == pytest.approx(expected, abs=1e-3)


def test_every_policy_is_trained_and_reported(four: Project) -> None:
    for policy in ("rebel-1", "rebel-2", "dpo-1"):
        rows = TRAINING.read(results(four) / policy / "training.parquet").to_pylist()
        assert len(rows) > 2 and all(row["grad_norm"] > 0 for row in rows[1:])
        assert rows[1]["chosen_logratio"] == pytest.approx(0, abs=1e-3)
    page = (results(four) / "report/index.html").read_text()
    assert "pairs dropped: tie" in page and "paired prompts" in page
    assert four.planned(configfile="config/four.yaml") == {}


def test_the_second_iteration_takes_pairs_of_a_pool_and_of_the_first_with_all_of_each_prompt(four: Project) -> None:
    path = results(four) / "rebel-1/pairs/train-000.parquet"
    artifact = pair_artifact(path)
    assert artifact.key == ("prompt_id", "chosen_policy", "chosen_draw", "rejected_policy", "rejected_draw")
    rows = artifact.read(path).to_pylist()
    assert max(Counter(row["prompt_id"] for row in rows).values()) <= 4
    assert {row["rejected_policy"] for row in rows} == {"rebel-1", "base"}
    parts = [
        results(four) / f"{policy}/pairs/train-00{part}.parquet" for policy in ("rebel-1", "base") for part in (0, 1)
    ]
    counts = [read_provenance(part)["counts"]["paired_prompts"] for part in parts]
    trained = 2 * min(sum(counts[:2]), sum(counts[2:]))
    steps = TRAINING.read(results(four) / "rebel-2/training.parquet").to_pylist()
    assert steps[-1]["step"] == trained // 2  # two prompts each


def test_every_pair_is_published_with_its_prompt(four: Project) -> None:
    for policy in ("base", "rebel-1"):
        path = results(four) / policy / "pairs/train-000.parquet"
        artifact = pair_artifact(path)
        pairs = artifact.read(path).to_pylist()
        published = results(four) / f"published/dataset/{policy}/preferences/train-000.parquet"
        made = preference_artifact(artifact).read(published).to_pylist()
        assert len(made) == len(pairs)
        for row, pair in zip(made, pairs, strict=True):
            assert [row[name] for name in artifact.key] == [pair[name] for name in artifact.key]
            assert row["rejected"][-1]["content"] == pair["rejected"]
            assert (row["score_chosen"], row["prompt_id"]) == (pair["chosen_reward"], pair["prompt_id"])
