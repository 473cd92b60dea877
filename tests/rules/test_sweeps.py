"""A sweep in the graph: its points are trained, one of them in full, and an edit reruns only what it changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from experiments import patch
from project import Project
from rerun_sweeps import swept
from rlhf.base.artifacts import read_provenance
from rlhf.base.files.folders import folder_provenance
from rlhf.evaluation.schema import SWEEP
from rlhf.responses.schema import RESPONSES

POINTS = [{"learning_rate": 1.0e-3}, {"learning_rate": 1.0e-4}, {"learning_rate": 1.0e-2}]
NAMES = ["simpo_lr1e-3", "simpo_lr1e-4", "simpo_lr0.01"]


def run(project: Project, points: int, **changes: Any) -> set[tuple[str, str]]:
    """Run the sweep with so many points; returns the rules and folders of the logs of the jobs that ran."""
    asked = {**swept(points=POINTS[:points]), **changes}
    config = project.write_config(patch(project.read_config(), asked), "swept")
    logs = project.folder / "logs/micro"
    shutil.rmtree(logs, ignore_errors=True)
    project.run(configfile=config)
    ran = {path.relative_to(logs).with_suffix("").parts[:2] for path in logs.rglob("*.log")}
    assert project.planned(configfile=config) == {}
    return {(parts[0], parts[1] if len(parts) > 1 else "") for parts in ran}


def check_selection(results: Path) -> None:
    """Selection prompts are neither trained nor reported on."""
    asked = read_provenance(results / "base/responses/selection-000.parquet")["spec"]["rows"]
    assert asked == {"start": -8, "stop": -4}
    rows = {
        part: set(RESPONSES.read(results / f"base/responses/{part}.parquet", ["prompt_id"])["prompt_id"].to_pylist())
        for part in ("train-000", "train-001", "selection-000", "test-000")
    }
    assert rows["selection-000"].isdisjoint(rows["test-000"] | rows["train-000"] | rows["train-001"])


def test_a_point_that_is_added_is_trained_alone_and_another_choice_trains_in_full(scratch_micro: Project) -> None:
    """Four prompts prove nothing, so that the default is promoted: the point with the variant's own settings."""
    results = scratch_micro.folder / "results/micro"
    ran = run(scratch_micro, points=2)
    trained = {folder for rule, folder in ran if rule == "train_policy"}
    assert trained == {f"{NAMES[0]}_s1-1", f"{NAMES[1]}_s1-1", "rates_1-1"}
    assert ("choose_variants", "rates") in ran
    assert {folder for rule, folder in ran if rule == "generate_responses"} == trained | {"base"}
    rows = SWEEP.read(results / "sweeps/rates.parquet").to_pylist()
    assert [(row["name"], row["default"], row["promoted"], row["prompts"]) for row in rows] == [
        (NAMES[0], True, 1, 4),
        (NAMES[1], False, None, 4),
    ]
    spec = folder_provenance(results / "rates_1-1/checkpoint")["spec"]
    assert (spec["recipe"]["learning_rate"], spec["recipe"]["pairs"]) == (1e-3, None)
    pilot = folder_provenance(results / f"{NAMES[1]}_s1-1/checkpoint")["spec"]
    assert (pilot["recipe"]["learning_rate"], pilot["recipe"]["pairs"]) == (1e-4, 2)
    assert not list((results / f"{NAMES[0]}_s1-1/responses").glob("t*.parquet"))  # selection prompts alone
    check_selection(results)
    page = (results / "report/index.html").read_text()
    assert "2 points, compared on 4 selection prompts by judge" in page
    assert "none is significantly better than the default, simpo_lr1e-3" in page

    ran = run(scratch_micro, points=3)
    assert {folder for rule, folder in ran if rule == "train_policy"} == {f"{NAMES[2]}_s1-1"}
    assert {rule for rule, folder in ran if folder != f"{NAMES[2]}_s1-1"} == {"choose_variants", "report"}

    own = {"variants.simpo.learning_rate": 1.0e-4}  # now another point has the variant's own settings
    ran = run(scratch_micro, points=3, **own)
    assert {folder for rule, folder in ran if rule == "train_policy"} == {"rates_1-1"}
    assert folder_provenance(results / "rates_1-1/checkpoint")["spec"]["recipe"]["learning_rate"] == 1e-4
