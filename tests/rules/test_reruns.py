"""An edit reruns what it concerns, and nothing else: every key of the configuration, and everything that is no key."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from project import REPOSITORY, Jobs, Project
from rerun_table import ALL_POLICIES, REBEL, REPORT, SIMPO, TABLE, Row, rerun_table_markdown, same
from rlhf.base.choices import Choice
from workflow.experiment import Experiment

HUB_REVISIONS = {
    "base_model.revision",
    "rewards.revision",
    "evaluation.judge.revision",
    "responses.imported.revision",
}
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


def patch(config: dict[str, Any], patches: dict[str, Any]) -> dict[str, Any]:
    """A copy with the values of `{"a.b.c": value}`."""
    config = copy.deepcopy(config)
    for path, value in patches.items():
        section = config
        *parents, last = path.split(".")
        for key in parents:
            section = section.setdefault(key, {})
        section[last] = value
    return config


def expected(row: Row) -> Jobs:
    jobs: Jobs = {rule: {""} for rule in row.others}
    for policy, rules in row.policies.items():
        for rule in rules:
            jobs.setdefault(rule, set()).add(policy)
    return jobs


EDITS = [(key, patches, row) for row in TABLE for key, patches in row.edits.items()]


def test_the_table_covers_every_key() -> None:
    keys = {key for key in keys_of(Experiment) if not key.startswith("hardware.")}
    covered = [key for key, _, _ in EDITS] + [key for row in TABLE for key in row.tested_apart]
    assert len(covered) == len(set(covered))
    assert set(covered) | HUB_REVISIONS | STOPPING == keys


def test_readme_shows_the_table() -> None:
    assert rerun_table_markdown() in (REPOSITORY / "README.md").read_text()


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


def test_comments_docstrings_and_formatting_of_code_rerun_nothing(micro: Project) -> None:
    for path in (micro.folder / "scripts").rglob("*.py"):
        text = path.read_text()
        edited = re.sub(r'\A"""', '"""Edited. ', text)
        path.write_text("# a comment\n" + edited.replace("\n\n\n", "\n\n\n\n# another comment\n\n"))
    assert micro.planned() == {}


def test_touched_files_rerun_nothing(micro: Project) -> None:
    for folder in ("results", "config", "scripts", "rules"):
        for path in (micro.folder / folder).rglob("*"):
            if path.is_file() and path.name != SNAKEMAKE_RECORD:
                path.touch()
    assert micro.planned() == {}


def edit_code(project: Project, module: str, old: str, new: str) -> None:
    path = project.folder / "scripts" / module
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_edited_loss_reruns_the_trainings_with_it_and_what_follows(micro: Project) -> None:
    edit_code(micro, "rlhf/training/losses/rebel.py", "residual / max(1.0, eta)", "residual / max(2.0, eta)")
    assert micro.planned() == expected(Row("", {}, REBEL, REPORT))


@pytest.mark.parametrize("like", ["rewards/kinds/function.py", "responses/engines/transformers.py"])
def test_a_new_kind_of_reward_or_engine_reruns_nothing(micro: Project, like: str) -> None:
    path = micro.folder / "scripts/rlhf" / like
    path.with_stem("my_own").write_text(path.read_text().replace('"function"', '"my_own"'))
    assert micro.planned() == {}


def test_a_new_loss_reruns_nothing(micro: Project) -> None:
    losses = micro.folder / "scripts/rlhf/training/losses"
    text = (losses / "dpo.py").read_text()
    (losses / "my_own.py").write_text(text.replace('"dpo"', '"my_own"').replace("DpoSettings", "MySettings"))
    assert micro.planned() == {}
    mine = {"variants.mine": {"loss": {"name": "my_own"}}}
    config = micro.write_config(patch(micro.read_config(), mine), "edited")
    assert micro.planned(configfile=config) == expected(Row("", {}, {"mine-1": SIMPO["simpo-1"]}, REPORT))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("command_line.py", "the settings: inline JSON", "settings: inline JSON"),
        ("workflow/hardware.py", "mem_mb=128000, runtime=1440", "mem_mb=128000, runtime=1500"),
        ("rlhf/machine/leases.py", "0.5", "0.25"),
        ("rlhf/machine/progress.py", "LOG_INTERVAL_SECONDS = 10.0", "LOG_INTERVAL_SECONDS = 5.0"),
        ("rlhf/training/trackers.py", "tracker {tracker}:", "the tracker {tracker}:"),
    ],
)
def test_an_edit_of_what_changes_no_result_reruns_nothing(micro: Project, module: str, old: str, new: str) -> None:
    edit_code(micro, module, old, new)
    assert micro.planned() == {}


def test_edited_report_reruns_the_report_alone(micro: Project) -> None:
    edit_code(micro, "rlhf/report/page.html", "</body>", "<p></p></body>")
    assert micro.planned() == {"report": {""}}


def test_edited_reward_function_of_the_user_reruns_what_it_scores(scratch_micro: Project) -> None:
    function = scratch_micro.folder / "my_rewards.py"
    function.write_text("def score(prompts, responses):\n    return [float(len(r)) for r in responses]\n")
    judge = {"evaluation.judge": {"kind": "function", "function": "my_rewards:score"}}
    path = scratch_micro.write_config(patch(scratch_micro.read_config(), judge), "edited")
    scratch_micro.run(configfile=path)
    assert scratch_micro.planned(configfile=path) == {}
    function.write_text(function.read_text().replace("len(r)", "len(r) + 1"))
    judged = same(frozenset({"judge_responses", "evaluate_policy"}))
    assert scratch_micro.planned(configfile=path) == expected(Row("", {}, judged, REPORT))


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
