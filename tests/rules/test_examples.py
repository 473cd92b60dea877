"""A variant that learns from examples, beside one that learns from pairs: run for real in the micro experiment."""

import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from experiments import patch
from project import Project, copy_with
from rerun_examples import EXAMPLES, KTO, LEARNED
from rerun_rows import REPORT, REWARDS, SAMPLED, TRAINING, Row
from rlhf.base.artifacts import read_provenance
from rlhf.examples.schema import EXAMPLES as EXAMPLES_FILE
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS as REWARDS_FILE
from rlhf.training.schema import TRAINING as TRAINING_FILE
from test_logprobs import padded_logprobs
from test_reruns import expected

ACCUMULATED = {**KTO, "iterations": 2, "pairs_of": "accumulated", "reference": "base"}
"""Its second iteration learns from the examples of both, under the reference `base`."""
CHANGES: dict[str, Any] = {"variants.kto": ACCUMULATED, "examples": EXAMPLES}
PARTS = ("train-000", "train-001", "test-000")


@pytest.fixture(scope="module")
def learned(finished_micro: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Micro with it; what it shares with the other variants is there."""
    results = [path.name for path in (finished_micro.folder / "results/micro").iterdir()]
    project = copy_with(finished_micro, tmp_path_factory.mktemp("learned") / "project", *results)
    project.run(configfile=project.write_config(patch(project.read_config(), CHANGES), "learned"))
    return project


def test_the_graph_makes_examples_only_for_what_learns_from_them(micro: Project) -> None:
    config = micro.write_config(patch(micro.read_config(), {"variants.kto": KTO, "examples": EXAMPLES}), "edited")
    row = Row("", {}, {"base": LEARNED, "kto-1": TRAINING | SAMPLED}, REPORT)
    assert micro.planned(configfile=config) == expected(row)
    made = micro.planned_outputs(configfile=config)
    assert {path for path in made if "/base/" in path} == {
        f"results/micro/base/{kind}/{part}.parquet" for kind in ("examples", "example_logprobs") for part in PARTS
    }
    assert not [path for path in made if "/kto-1/pairs/" in path or "/kto-1/logprobs/" in path]


def test_thresholds_without_such_a_variant_rerun_nothing(micro: Project) -> None:
    config = micro.write_config(patch(micro.read_config(), {"examples": EXAMPLES}), "edited")
    assert micro.planned(configfile=config) == {}


@pytest.mark.slow
def test_examples_are_the_responses_beyond_the_thresholds(learned: Project) -> None:
    results = learned.folder / "results/micro"
    for policy in ("base", "kto-1"):
        rewards = {
            (row["prompt_id"], row["draw"]): row["reward"]
            for row in REWARDS_FILE.read(results / policy / "rewards/train-000.parquet").to_pylist()
        }
        finished = {
            (row["prompt_id"], row["draw"]): row["response_token_ids"]
            for row in RESPONSES.read(results / policy / "responses/train-000.parquet").to_pylist()
            if row["finish_reason"] == "stop"
        }
        rows = {
            (row["prompt_id"], row["draw"]): row
            for row in EXAMPLES_FILE.read(results / policy / "examples/train-000.parquet").to_pylist()
        }
        wanted = {key for key in finished if rewards[key] > EXAMPLES["desirable_above"]}
        unwanted = {key for key in finished if rewards[key] < EXAMPLES["undesirable_below"]}
        assert {key for key, row in rows.items() if row["desirable"]} == wanted
        assert {key for key, row in rows.items() if not row["desirable"]} == unwanted
        for row in rows.values():
            assert row["other_token_ids"] == finished[row["other_prompt_id"], row["other_draw"]]


@pytest.mark.slow
def test_log_probabilities_are_those_of_the_reference_given_this_prompt(learned: Project) -> None:
    results = learned.folder / "results/micro"
    model = AutoModelForCausalLM.from_pretrained(results / "world/policy", dtype=torch.float32)
    rows = EXAMPLES_FILE.read(results / "kto-1/examples/train-000.parquet").to_pylist()
    stored = EXAMPLE_LOGPROBS.read(results / "kto-1/example_logprobs/base/train-000.parquet").to_pylist()
    for name, column in (("response", "logprob"), ("other", "other_logprob")):
        given = padded_logprobs(model, [(row["prompt_token_ids"], row[f"{name}_token_ids"]) for row in rows])
        assert [row[column] for row in stored] == pytest.approx(given, abs=1e-3)


@pytest.mark.slow
def test_trainings_learn_from_them_and_nothing_is_left_to_do(learned: Project) -> None:
    results = learned.folder / "results/micro"
    origin = read_provenance(results / "kto-2/training.parquet")
    assert [len(origin["inputs"][name]) for name in ("examples", "earlier_examples", "earlier_logprobs")] == [2, 2, 2]
    assert "pairs" not in origin["inputs"] and origin["spec"]["loss"] == {**KTO["loss"], "desirable_weight": 1.0,
                                                                         "undesirable_weight": 1.0}  # fmt: skip
    first, *_, last = TRAINING_FILE.read(results / "kto-1/training.parquet").to_pylist()
    assert first["validation_loss"] == pytest.approx(0.5, abs=1e-3)
    assert math.isfinite(last["validation_loss"]) and last["grad_norm"] > 0
    page = (results / "report/index.html").read_text()
    assert "kto-2" in page and "desirable in colour, undesirable grey" in page
    assert learned.planned(configfile="config/learned.yaml") == {}


@pytest.mark.slow
def test_other_thresholds_sample_and_score_nothing(learned: Project) -> None:
    changes = {**CHANGES, "examples": {**EXAMPLES, "desirable_above": 0.3575}}
    planned = learned.planned(configfile=learned.write_config(patch(learned.read_config(), changes), "edited"))
    again = {"base": LEARNED, "kto-1": TRAINING | SAMPLED | REWARDS | LEARNED, "kto-2": TRAINING | SAMPLED}
    assert planned == expected(Row("", {}, again, REPORT))


@pytest.mark.slow
def test_points_of_a_sweep_and_a_publication(learned: Project) -> None:
    points = {"sweeps": {"betas": {"variant": "kto", "points": [{"loss.beta": 0.5}], "pilot": 4}}}
    changes = {"variants.kto": KTO, "examples": EXAMPLES, "prompts.selection": 4, **points}
    config = learned.write_config(patch(learned.read_config(), changes), "swept")
    learned.run("results/micro/sweeps/betas.parquet", configfile=config)
    assert (learned.folder / "results/micro/kto_beta0.5_s1-1/comparisons.parquet").is_file()

    alone = {"variants": {"kto": ACCUMULATED}, "examples": EXAMPLES}
    learned.run("publish", configfile=learned.write_config(patch(learned.read_config(), alone), "alone"))
    published = learned.folder / "results/micro/published"
    card = (published / "dataset/README.md").read_text()
    assert 'load_dataset("path/to/this/folder", "base_examples", split="train")' in card
    assert "`kto-1_example_logprobs_base`" in card and "preference pairs" not in card
    model = (published / "models/kto-1/README.md").read_text()
    counted = sum(len(EXAMPLES_FILE.read(published / f"dataset/base/examples/{part}.parquet")) for part in PARTS[:2])
    assert f"trained by `kto` on {counted} desirable and undesirable responses of `base`" in model
