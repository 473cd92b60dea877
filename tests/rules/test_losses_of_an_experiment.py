"""The losses beside REBEL, DPO and SimPO, and rejection-sampling fine-tuning, through the pipeline on micro."""

from pathlib import Path
from typing import Any

import pytest

from project import Project, copy_with
from rlhf.base.artifacts import read_provenance
from rlhf.pairs.schema import read_pair_table
from rlhf.training.schema import TRAINING

VARIANTS: dict[str, dict[str, Any]] = {
    "robust": {"name": "robust", "beta": 0.3},
    "exo": {"name": "exo", "beta": 0.3},
    "nca": {"name": "nca", "beta": 0.3},
    "weighted": {"name": "dpo", "beta": 0.3, "sft_weight": 0.5, "wpo": True},
}


def run_with(finished: Project, folder: Path, pairs: dict[str, Any], variants: dict[str, dict[str, Any]]) -> Path:
    """Run micro with other pairs and losses, from the responses of its base policy; returns the folder of results."""
    project = copy_with(finished, folder, "world", "base", "prompts.parquet", "contamination.parquet")
    config = {**project.read_config(), "pairs": pairs, "variants": {n: {"loss": loss} for n, loss in variants.items()}}
    project.run(configfile=project.write_config(config, "losses"))
    return project.folder / "results/micro"


@pytest.mark.slow
def test_the_report_says_what_the_margins_of_all_losses_are(finished_micro: Project, tmp_path: Path) -> None:
    results = run_with(finished_micro, tmp_path / "project", {}, VARIANTS)
    for variant, loss in VARIANTS.items():
        file = results / f"{variant}-1/training.parquet"
        assert read_provenance(file)["spec"]["loss"].items() >= loss.items()
        rows = TRAINING.read(file).to_pylist()
        assert all(row["grad_norm"] > 0 for row in rows[1:])
        assert rows[-1]["sign_agreement"] is not None
    page = (results / "report/index.html").read_text()
    assert "Margin of robust, exo, nca, weighted: log-ratio of chosen less that of rejected" in page


@pytest.mark.slow
def test_rejection_sampling_learns_from_the_best_response_of_every_prompt(
    finished_micro: Project, tmp_path: Path
) -> None:
    """Of prompts without a pair of two as well, without a reference, and without computing the rejected responses."""
    results = run_with(finished_micro, tmp_path / "project", {"choose": "best"}, {"raft": {"name": "sft"}})
    candidates = two = 0
    tokens: list[int] = []
    for part in ("train-000", "train-001"):
        file = results / f"base/pairs/{part}.parquet"
        counts = read_provenance(file)["counts"]
        candidates += counts["prompts"] - counts["dropped"]["no_two_candidates"]
        for row in read_pair_table(file).to_pylist():
            tokens.append(len(row["prompt_token_ids"]) + len(row["chosen_token_ids"]))
        before = finished_micro.folder / f"results/micro/base/pairs/{part}.parquet"
        two += len(read_pair_table(before))
    assert len(tokens) == candidates >= two
    training = results / "raft-1/training.parquet"
    assert set(read_provenance(training)["inputs"]) == {"policy", "pairs", "validation_pairs"}
    rows = TRAINING.read(training).to_pylist()
    assert sum(tokens) - max(tokens) <= rows[-1]["tokens"] <= sum(tokens)  # in pairs of two prompts: one may be left
    assert rows[-1]["validation_loss"] != rows[0]["validation_loss"]
    assert rows[-1]["sign_agreement"] is rows[-1]["chosen_logratio"] is None
