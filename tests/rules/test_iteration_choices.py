"""Three iterations of the micro experiment with other starts, references, pairs and pools, run for real."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from experiments import patch
from project import WORLD, Project, copy_with
from rlhf.base.artifacts import read_provenance
from rlhf.logprobs.schema import DRIFT, LOGPROBS
from rlhf.pairs.schema import read_pair_table
from rlhf.rewards.schema import REWARDS
from test_logprobs import padded_logprobs

ALL: dict[str, Any] = {
    "training.reference": "base",
    "training.pairs_of": "accumulated",
    "training.earlier_share": 0.5,
    "pairs.pool": ["parent", "base", "earlier"],
    "evaluation.kl_to_base": True,
    "hardware.measure_drift": {"gpu": 0, "mem_mb": 2000},
    "variants": {"rebel": {"loss": {"name": "rebel", "eta": 10.0}, "iterations": 3}},
}
"""Everything at once."""
FIRST = ("base", "rebel-1/training.parquet", "rebel-1/checkpoint", "prompts.parquet")
"""What the first iteration makes, and what is before it."""


@pytest.fixture(scope="module")
def chosen(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Micro with all of it, made from the world alone: nothing of the first iteration is taken from elsewhere."""
    project = copy_with(finished_micro, tmp_path_factory.mktemp("chosen") / "project", WORLD)
    project.run(configfile=project.write_config(patch(project.read_config(), ALL), "chosen"))
    return project


def contents(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Digests of files, Snakemake's own left out."""
    found = [
        path for name in names for path in ((folder / name).rglob("*") if (folder / name).is_dir() else [folder / name])
    ]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


@pytest.mark.slow
def test_the_first_iteration_is_the_same_to_the_byte(chosen: Project, finished_micro: Project) -> None:
    ours, theirs = (contents(project.folder / "results/micro", FIRST) for project in (chosen, finished_micro))
    assert len(theirs) > 20
    assert {name: digest for name, digest in ours.items() if theirs.get(name) != digest} == {}
    assert theirs.keys() == ours.keys()


@pytest.mark.slow
def test_pairs_of_a_pool_are_the_best_and_the_worst_of_all_its_policies(chosen: Project) -> None:
    results, part = chosen.folder / "results/micro", "train-000.parquet"
    pool = ["rebel-2", "base", "rebel-1"]
    path = results / "rebel-2/pairs" / part
    assert read_provenance(path)["spec"]["pool"] == pool
    rewards = {
        (policy, row["prompt_id"], row["draw"]): row["reward"]
        for policy in pool
        for row in REWARDS.read(results / policy / "rewards" / part).to_pylist()
    }
    rows = read_pair_table(path).to_pylist()
    assert len(rows) == 4
    for row in rows:
        of_prompt = [
            reward for (_, prompt, _), reward in rewards.items() if prompt == row["prompt_id"] and reward is not None
        ]
        chosen_reward, rejected_reward = (
            rewards[row[f"{side}_policy"], row["prompt_id"], row[f"{side}_draw"]] for side in ("chosen", "rejected")
        )
        assert (chosen_reward, rejected_reward) == (row["chosen_reward"], row["rejected_reward"])
        assert (max(of_prompt), min(of_prompt)) == (chosen_reward, rejected_reward)


@pytest.mark.slow
def test_log_probabilities_of_its_pairs_are_those_of_base(chosen: Project) -> None:
    results = chosen.folder / "results/micro"
    model = AutoModelForCausalLM.from_pretrained(results / "world/policy", dtype=torch.float32)
    pairs = read_pair_table(results / "rebel-2/pairs/train-000.parquet").to_pylist()
    stored = LOGPROBS.read(results / "rebel-2/logprobs/base/train-000.parquet").to_pylist()
    for side in ("chosen", "rejected"):
        expected = padded_logprobs(model, [(pair["prompt_token_ids"], pair[f"{side}_token_ids"]) for pair in pairs])
        assert [row[f"{side}_logprob"] for row in stored] == pytest.approx(expected, abs=1e-3)
    assert not (results / "rebel-2/logprobs/train-000.parquet").exists()


@pytest.mark.slow
def test_the_record_of_a_training_says_what_it_was_made_of(chosen: Project) -> None:
    origin = read_provenance(chosen.folder / "results/micro/rebel-3/training.parquet")
    lineage = origin["spec"]["lineage"]
    assert (lineage["parent"], lineage["reference"], lineage["earlier"]) == ("rebel-2", "base", ["base", "rebel-1"])
    assert origin["spec"]["earlier_share"] == 0.5
    assert [len(origin["inputs"][name]) for name in ("pairs", "earlier_pairs", "earlier_logprobs")] == [2, 4, 4]
    card = (chosen.folder / "results/micro/rebel-3/checkpoint/README.md").read_text()
    assert "16 preference pairs of responses of `rebel-2` and, from earlier iterations, of `base`, `rebel-1`" in card
    assert "Its reference is `base`." in card


@pytest.mark.slow
def test_the_summary_has_the_drift_of_each_policy_and_nothing_is_left_to_do(chosen: Project) -> None:
    results = chosen.folder / "results/micro"
    header, _, *rows = (results / "report/summary.md").read_text().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][-2:] == ["KL to base", "KL per token"]
    assert len(rows) == 4
    assert len(DRIFT.read(results / "rebel-3/drift.parquet")) == 4 * 3
    assert chosen.planned(configfile="config/chosen.yaml") == {}
