"""The published experiment, and what README says of machines for it, by the memory model."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from published_rows import PUBLISHED, ReadmeRow, experiment_of, hours_of, readme_rows
from rlhf.base.errors import UserError
from rlhf.machine.memory import SPARE
from workflow.experiment import Experiment, load_experiment
from workflow.planning.memory_check import check_memory, gigabytes, largest_prompt, stage_memories

ROWS_OF_ULTRAFEEDBACK = 60_800
"""About so many has the split `train_sft` of the published dataset."""


def published(**hardware: Any) -> Experiment:
    config = yaml.safe_load(PUBLISHED.read_text())
    config["hardware"]["train_policy"].update(hardware)
    return load_experiment(config, "test")


def test_the_published_experiment_fits_with_a_tenth_to_spare() -> None:
    experiment = published()
    found = gigabytes(experiment, experiment.hardware.train_policy)
    stages = {"generate_responses", "score_responses", "judge_responses", "compute_logprobs", "train_policy"}
    stages |= {"run_benchmark"}
    assert found.keys() == stages
    assert all(0 < needed <= 80 * (1 - SPARE) for needed in found.values()), found


def test_the_drift_is_a_stage_where_it_is_asked_for() -> None:
    """It computes single responses; compute_logprobs pairs of them, with the same budget at the same place."""
    config = yaml.safe_load(PUBLISHED.read_text())
    config["evaluation"]["kl_to_base"] = True
    asked = load_experiment(config, "test")
    stages = {stage.rule: stage for stage in stage_memories(asked, asked.hardware.train_policy)}
    drift, logprobs = stages["measure_drift"], stages["compute_logprobs"]
    assert (drift.longest, logprobs.longest) == (1024 + 2048, 1024 + 2 * 2048)
    assert drift.memory(4096) == logprobs.memory(4096)
    assert gigabytes(asked, asked.hardware.train_policy)["measure_drift"] <= 80 * (1 - SPARE)


def test_the_prompts_suffice_when_one_in_twenty_drops_out() -> None:
    prompts = published().prompts
    assert prompts.train + prompts.test <= 0.95 * ROWS_OF_ULTRAFEEDBACK
    assert prompts.train % prompts.part_size == 0


@pytest.mark.parametrize("row", readme_rows(), ids=lambda row: f"{row.gpus}x{row.gigabytes:g}")
def test_every_row_of_readme_fits_and_takes_the_hours_that_it_says(row: ReadmeRow) -> None:
    experiment = experiment_of(row)
    found = gigabytes(experiment, experiment.hardware.train_policy)
    assert all(needed <= row.gigabytes * (1 - SPARE) for needed in found.values()), found
    assert experiment.hardware.train_policy.gpu <= row.gpus
    hours, gpu_hours = hours_of(experiment, row.gpus)
    assert row.hours == pytest.approx(hours, rel=0.06)
    assert row.gpu_hours == pytest.approx(gpu_hours, rel=0.06)


def test_readme_has_rows_for_one_node_and_more() -> None:
    assert [row.gpus for row in readme_rows()] == [1, 1, 8, 64]


def test_a_budget_that_does_not_fit_is_refused_with_what_would() -> None:
    """16,384 tokens with all activations kept: what the published configuration once asked for."""
    experiment = published(token_budget=16_384)
    with pytest.raises(UserError, match=r"train_policy, variant rebel: 16384 tokens .* 1\d\d GB .* 80 GB") as error:
        check_memory(experiment, experiment.hardware.train_policy)
    budget = re.search(r"`token_budget: auto` \(then up to (\d+) tokens\)", str(error.value))
    assert budget is not None
    fits = published(token_budget=int(budget[1]))
    check_memory(fits, fits.hardware.train_policy)
    recomputed = published(token_budget=16_384, activations="recompute")
    assert "`activations: recompute`" in str(error.value)
    check_memory(recomputed, recomputed.hardware.train_policy)


@pytest.mark.parametrize(
    ("hardware", "remedies"),
    [
        ({"gpu": 1, "strategy": "single"}, ["lora: {rank: 64}", "`gpu: 8` and `strategy: zero3`"]),
        ({"gpu": 8, "strategy": "ddp"}, ["lora: {rank: 64}"]),
    ],
)
def test_a_training_that_cannot_fit_with_any_budget(hardware: dict[str, Any], remedies: list[str]) -> None:
    experiment = published(**hardware)
    with pytest.raises(UserError) as error:
        check_memory(experiment, experiment.hardware.train_policy)
    for remedy in remedies:
        assert remedy in str(error.value)


def test_models_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    config = yaml.safe_load(PUBLISHED.read_text())
    config["base_model"]["name"] = "owner/unknown"
    experiment = load_experiment(config, "test")
    rules = {stage.rule for stage in stage_memories(experiment, experiment.hardware.train_policy)}
    assert rules == {"score_responses", "judge_responses"}


def several(**pairs: Any) -> Experiment:
    config = yaml.safe_load(PUBLISHED.read_text())
    return load_experiment({**config, "pairs": pairs}, "test")


@pytest.mark.parametrize(
    ("pairs", "responses"),
    [
        ({}, 2),
        ({"per_prompt": 2}, 3),
        ({"per_prompt": 4}, 5),
        ({"choose": "best_random", "per_prompt": 3}, 4),
        ({"choose": "random", "per_prompt": 2}, 4),
        ({"choose": "all", "per_prompt": 10}, 5),
        ({"choose": "all", "per_prompt": 10, "pool": ["parent", "base"]}, 5),  # of one iteration: base is the parent
    ],
    ids=str,
)
def test_several_pairs_need_the_memory_of_one_because_they_can_be_divided(
    pairs: dict[str, Any], responses: int
) -> None:
    experiment = several(**pairs)
    stages = {stage.rule: stage for stage in stage_memories(experiment, experiment.hardware.train_policy)}
    assert stages["compute_logprobs"].longest == stages["train_policy"].longest == 1024 + 2 * 2048
    assert largest_prompt(experiment) == 1024 + responses * 2048
    assert gigabytes(experiment, experiment.hardware.train_policy)["train_policy"] <= 80 * (1 - SPARE)
