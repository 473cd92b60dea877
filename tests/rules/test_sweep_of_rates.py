"""A sweep of the tiny experiment finds the learning rate that works, beside one that does nothing and one too high."""

from pathlib import Path

import pytest

from experiments import patch
from project import copy_project
from rlhf.base.files.folders import folder_provenance
from rlhf.evaluation.schema import EVALUATION, SWEEP

NOTHING, WORKS, DESTROYS = 1.0e-6, 1.5e-4, 1.0e-2


@pytest.mark.slow
def test_the_rate_that_works_is_promoted_and_trained_in_full(tmp_path: Path) -> None:
    """18 pilots: 3 rates, 3 values of eta, 2 seeds. The variant itself has the rate that does nothing."""
    project = copy_project(tmp_path / "project")
    tiny = project.read_config("config")
    loss = tiny["variants"]["rebel"]["loss"]
    over = {"learning_rate": [NOTHING, WORKS, DESTROYS], "loss.eta": [2.0, 8.0, 32.0]}
    changes = {
        "prompts.selection": 200,
        "variants": {"rebel": {"loss": loss, "learning_rate": NOTHING}},
        "sweeps": {"rates": {"variant": "rebel", "over": over, "seeds": 2, "pilot": 800}},
    }
    project.run(configfile=project.write_config(patch(tiny, changes), "swept"))
    results = project.folder / "results/tiny"
    rows = SWEEP.read(results / "sweeps/rates.parquet").to_pylist()
    assert [row["name"] for row in rows if row["default"]] == ["rebel_lr1e-6_eta8"]
    better = {row["name"] for row in rows if (row["corrected_p_value"] or 1) < 0.05}
    assert better == {f"rebel_lr1.5e-4_eta{eta}" for eta in (2, 8, 32)}
    (promoted,) = [row["name"] for row in rows if row["promoted"]]
    assert promoted in better
    recipe = folder_provenance(results / "rates_1-1/checkpoint")["spec"]["recipe"]
    assert (recipe["learning_rate"], recipe["pairs"], recipe["epochs"]) == (WORKS, None, 2)
    (judged,) = [row for row in EVALUATION.read(results / "rates_1-1/evaluation.parquet").to_pylist()
                 if row["judge"] == "judge"]  # fmt: skip
    assert judged["win_rate_low"] > 0.6
