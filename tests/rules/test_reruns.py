"""An edit reruns what it concerns, and nothing else: every key of the configuration, and everything that is no key."""

import json
import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from experiments import patch
from project import Jobs, Project
from rerun_rows import ALL_POLICIES, REPORT, SIMPO, Row
from rerun_table import TABLE
from rlhf.base.choices import Choice
from workflow.experiment import Experiment
from workflow.reference.reruns import reruns

OF_CHOICES = ("variants.<name>.loss.*", "rewards.*", "evaluation.judge.*")
HUB_REVISIONS = {"base_model.revision", "responses.imported.revision"}
"""Keys of what comes from the hub, which the micro experiment has none of: see `test_revisions_of_hub_models`."""
STOPPING = {"environments"}
"""Not a matter of reruns: see `test_a_run_that_does_not_match_its_environments_stops`."""

SNAKEMAKE_RECORD = ".snakemake_timestamp"
"""Snakemake's own file in folders that rules make: it says when the folder was made."""


def keys_of(annotation: Any, prefix: str = "") -> Iterator[str]:
    """The keys that hold values, unions of sections flattened: `rewards.model`, `variants.<name>.loss.eta`."""
    if isinstance(annotation, type) and issubclass(annotation, Choice) and annotation.stands_for_all():
        for choice in annotation.choices().values():
            yield from keys_of(choice, prefix)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            key = f"{prefix}.{name}" if prefix else name
            nested = f"{key}.<name>" if get_origin(field.annotation) is dict else key
            yield from keys_of(field.annotation, nested) if has_section(field.annotation) else [key]
    else:
        for argument in get_args(annotation):
            if has_section(argument):
                yield from keys_of(argument, prefix)


def has_section(annotation: Any) -> bool:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_section or any(has_section(argument) for argument in get_args(annotation))


def expected(row: Row) -> Jobs:
    jobs: Jobs = {rule: {""} for rule in row.others}
    for policy, rules in row.policies.items():
        for rule in rules:
            jobs.setdefault(rule, set()).add(policy)
    return jobs


EDITS = [(key, patches, row) for row in TABLE for key, patches in row.edits.items()]


def test_the_table_covers_every_key() -> None:
    """Of losses and kinds of rewards some: their keys are one row, whatever keys a new one brings."""
    keys = {key for key in keys_of(Experiment) if not key.startswith("hardware.")}
    edited = [key for key, _, _ in EDITS]
    assert len(edited) == len(set(edited))
    others = {key for key in keys - set(edited) if not any(fnmatchcase(key, pattern) for pattern in OF_CHOICES)}
    assert others == HUB_REVISIONS | STOPPING
    assert set(edited) <= keys


def test_every_key_has_words_in_the_reference_and_the_words_are_those_of_the_table() -> None:
    for key in keys_of(Experiment):
        assert reruns(key)
    assert [(key, reruns(key)) for key, _, _ in EDITS] == [(key, row.words) for key, _, row in EDITS]


@pytest.fixture
def prepared(micro: Project) -> Project:
    """Micro, with the other model, dataset and reward function that edits name."""
    models = micro.folder / "models"
    world = micro.folder / "results/micro/world"
    if not models.exists():
        shutil.copytree(world / "policy", models / "policy")
        shutil.copytree(world / "reward_model", models / "other")
        shutil.copy(world / "prompts.parquet", models / "prompts.parquet")
        columns = {f"response_{draw}{kind}": None for draw in range(3) for kind in ("", "_reward")}
        (models / "imported.jsonl").write_text(json.dumps({"prompt": "a", "text": "a", **columns}) + "\n")
        shutil.copy(micro.folder / "results/micro/rebel-1/comparisons.parquet", models / "comparisons.parquet")
        (micro.folder / "reward_of_length.py").write_text(
            "def score(prompts, responses):\n    return map(len, responses)\n"
        )
    return micro


@pytest.mark.parametrize(("key", "patches", "row"), EDITS, ids=[key for key, _, _ in EDITS])
def test_edit_of_a_key_reruns_what_the_table_says(
    key: str, patches: dict[str, Any], row: Row, prepared: Project
) -> None:
    edited = prepared.write_config(patch(prepared.read_config(), patches), "edited")
    assert prepared.planned(configfile=edited) == expected(row)


def test_hardware_reruns_nothing(micro: Project) -> None:
    config = micro.read_config()
    named = {"strategy": "ddp", "activations": "recompute", "tracker": "tensorboard"}
    for name, field in Experiment.model_fields["hardware"].annotation.model_fields.items():  # type: ignore[union-attr]
        keys = getattr(field.annotation, "model_fields", None)
        for path, key in [(f"hardware.{name}.{key}", key) for key in keys] if keys else [(f"hardware.{name}", name)]:
            config = patch(config, {path: named.get(key, 7)})
    assert micro.planned(configfile=micro.write_config(config, "edited")) == {}


def test_a_finished_run_has_nothing_to_do(micro: Project) -> None:
    assert micro.planned() == {}


def test_reverting_an_edit_leaves_nothing_to_do(micro: Project) -> None:
    edited = micro.write_config(patch(micro.read_config(), {"training.learning_rate": 0.5}), "edited")
    assert micro.planned(configfile=edited)
    assert micro.planned() == {}


def test_swapping_the_values_of_two_keys_reruns(micro: Project) -> None:
    config = micro.read_config()
    loss = config["variants"]["simpo"]["loss"]
    swapped = patch(config, {"variants.simpo.loss.beta": loss["gamma"], "variants.simpo.loss.gamma": loss["beta"]})
    planned = micro.planned(configfile=micro.write_config(swapped, "edited"))
    assert planned == expected(Row("", {}, SIMPO, REPORT))


def test_order_and_comments_rerun_nothing(micro: Project) -> None:
    def backwards(value: Any) -> Any:
        return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    path = micro.write_config(backwards(micro.read_config()), "edited")
    # Two variants in another order are two policies in another order of the report's table.
    config = micro.read_config("edited")
    config["variants"] = micro.read_config()["variants"]
    path = micro.write_config(config, "edited")
    (micro.folder / path).write_text("# a comment\n\n" + (micro.folder / path).read_text())
    assert micro.planned(configfile=path) == {}


def test_touched_files_rerun_nothing(micro: Project) -> None:
    for folder in ("results", "config", "scripts", "rules"):
        for path in (micro.folder / folder).rglob("*"):
            if path.is_file() and path.name != SNAKEMAKE_RECORD:
                path.touch()
    assert micro.planned() == {}


def test_new_variant_trains_and_evaluates_that_variant_alone(micro: Project) -> None:
    config = patch(micro.read_config(), {"variants.dpo": {"loss": {"name": "dpo", "beta": 0.1}}})
    planned = micro.planned(configfile=micro.write_config(config, "edited"))
    dpo = {"dpo-1": SIMPO["simpo-1"]}
    assert planned == expected(Row("", {}, dpo, REPORT))


def test_more_training_prompts_compute_only_the_new_part(micro: Project) -> None:
    config = patch(micro.read_config(), {"prompts.train": 12})
    made = micro.planned_outputs(configfile=micro.write_config(config, "edited"))
    base = {path for path in made if path.startswith("results/micro/base/")}
    assert base == {
        f"results/micro/base/{stage}/train-002.parquet" for stage in ("responses", "rewards", "pairs", "logprobs")
    }


def test_another_iteration_goes_on_from_what_exists(micro: Project) -> None:
    config = patch(micro.read_config(), {"variants.rebel.iterations": 3})
    planned = micro.planned(configfile=micro.write_config(config, "edited"))
    assert planned["train_policy"] == {"rebel-3"}
    assert not {"base", "rebel-1", "simpo-1"} & set().union(*planned.values())


def test_revisions_of_hub_models(micro: Project) -> None:
    """A revision is part of the spec of the stages that load the model, and of no other."""

    def specs(patches: dict[str, Any]) -> dict[str, str]:
        hub = {
            "tiny": None,
            "experiment": "hub",
            "base_model": {"name": "owner/policy"},
            "prompts.dataset": "owner/prompts",
            "rewards": {"kind": "armo", "model": "owner/rewards"},
            "responses.imported": {"dataset": "owner/responses", "rewards": True},
            "evaluation.judge": {"kind": "armo", "model": "owner/judge"},
        }
        path = micro.write_config(patch(patch(micro.read_config(), hub), patches), "edited")
        return {str(job.outputs[0]): job.spec for job in micro.planned_jobs("--forceall", configfile=path)}

    before = specs({})
    for key, stages in (
        (
            "base_model.revision",
            {"prompts", "base/responses", "base/logprobs", "rebel-1/checkpoint", "simpo-1/checkpoint"},
        ),
        ("responses.imported.revision", {"base/responses", "base/rewards"}),
        ("rewards.revision", {f"{policy}/rewards" for policy in ALL_POLICIES}),
        ("evaluation.judge.revision", {f"{policy}/judgements" for policy in ALL_POLICIES}),
    ):
        after = specs({key: "v2"})
        changed = {re.sub(r"results/hub/|/?(\w+-\d+)?\.parquet", "", o) for o in before if before[o] != after[o]}
        assert changed == stages, key


@pytest.mark.parametrize(("said", "flag"), [("conda", []), ("embedded", ["--sdm", "conda"])])
def test_a_run_that_does_not_match_its_environments_stops(said: str, flag: list[str], micro: Project) -> None:
    path = micro.write_config(patch(micro.read_config(), {"environments": said}), "edited")
    finished = micro.snakemake(*flag, "--forceall", configfile=path)
    assert finished.returncode != 0
    assert "error: this experiment runs" in finished.stderr
    assert "--sdm conda" in finished.stderr
    assert "jobid" not in finished.stderr
