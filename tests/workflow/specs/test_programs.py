"""What each program is told: exactly the settings that it reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import MICRO, PUBLISHED, experiment
from rlhf.base.errors import UserError
from rlhf.base.provenance import digest
from rlhf.prompts.settings import BenchmarkSettings, CollectSpec
from workflow.specs.programs import Specs, as_json, program_digest


def specs(name: str = MICRO, **patches: Any) -> Specs:
    return Specs(experiment(name, **patches))


def test_equal_settings_are_equal_strings() -> None:
    spec = specs().train_policy("rebel-1")
    assert json.loads(as_json(spec)) == spec.model_dump(mode="json")
    assert as_json(spec) == as_json(specs().train_policy("rebel-1"))


def test_a_model_that_a_rule_makes_is_no_setting_and_one_of_the_hub_is() -> None:
    assert specs().generate_responses("base", "train-000").model is None
    assert specs(PUBLISHED).generate_responses("rebel-1", "train-000").model is None
    model = specs(PUBLISHED, base_model__revision="a" * 40).generate_responses("base", "train-000").model
    assert model is not None
    assert (model.name, model.revision) == ("meta-llama/Meta-Llama-3-8B-Instruct", "a" * 40)


def test_a_local_dataset_is_known_by_its_content(tmp_path: Path) -> None:
    fingerprints = []
    for number, text in enumerate(("one", "two", "one")):
        file = tmp_path / f"{number}.jsonl"
        file.write_text(json.dumps({"prompt": text}) + "\n")
        fingerprints.append(specs(PUBLISHED, prompts__dataset=str(file)).collect_prompts().dataset_fingerprint)
    assert fingerprints[0] is not None
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_a_local_dataset_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        specs(PUBLISHED, prompts__dataset=str(tmp_path / "none.parquet")).collect_prompts()


def test_benchmarks_are_a_setting_of_the_prompts_only_where_there_are_any(tmp_path: Path) -> None:
    assert "decontaminate" not in json.loads(as_json(specs().collect_prompts()))
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "one"}\n')
    spec = specs(prompts__decontaminate=[{"dataset": str(file)}, {"dataset": "a/b"}]).collect_prompts()
    assert CollectSpec.model_validate_json(as_json(spec)) == spec
    local, hub = spec.decontaminate
    assert (local.name, local.fingerprint, hub.name, hub.fingerprint) == ("mine", digest(file), "b", None)
    file.write_text('{"prompt": "two"}\n')
    assert digest(file) != local.fingerprint


@pytest.mark.parametrize(
    "edit",
    [
        {"dataset": "a/c"},
        {"file": "questions.jsonl"},
        {"revision": "v2"},
        {"subset": "en"},
        {"split": "test"},
        {"column": "turns"},
        {"name": "mine"},
        {"ngram": 8},
        {"similarity": 0.5},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_every_key_of_a_benchmark_is_a_setting_of_the_prompts_alone(edit: dict[str, Any]) -> None:
    assert len(edit) == 1 and edit.keys() < BenchmarkSettings.model_fields.keys()

    def programs(benchmark: dict[str, Any]) -> list[str]:
        found = specs(prompts__decontaminate=[benchmark])
        generate, train = found.generate_responses("base", "train-000"), found.train_policy("rebel-1")
        return [as_json(spec) for spec in (found.collect_prompts(), generate, train, found.report())]

    before, after = programs({"dataset": "a/b"}), programs({"dataset": "a/b", **edit})
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True, True]


def test_the_seed_is_a_setting_of_pairs_only_where_they_are_drawn() -> None:
    assert specs().build_pairs("base", "train-000").seed is None
    assert specs(pairs__choose="random").build_pairs("base", "train-000").seed == 1


def test_a_variant_trains_with_its_own_recipe_on_its_parent() -> None:
    spec = specs(variants__simpo__learning_rate=0.5).train_policy("simpo-1")
    assert spec.recipe.learning_rate == 0.5
    assert (spec.lineage.parent, spec.loss.name) == ("base", "simpo")
    assert specs().train_policy("rebel-2").lineage.parent == "rebel-1"


def test_a_card_names_no_placeholder() -> None:
    lineage = specs().train_policy("rebel-1").lineage
    assert (lineage.base_model, lineage.dataset) == (
        "this experiment's world/policy",
        "this experiment's world/prompts.parquet",
    )
    assert specs(PUBLISHED).train_policy("rebel-1").lineage.base_model == "meta-llama/Meta-Llama-3-8B-Instruct"


def test_the_digest_of_a_program_holds_the_modules_that_its_settings_name() -> None:
    plain, named = program_digest("train_policy"), program_digest("train_policy", ("rlhf.training.losses.dpo",))
    assert plain != named
    with pytest.raises(UserError, match="no module 'my_rewards'"):
        program_digest("score_responses", ("my_rewards",))


def test_several_pairs_are_a_setting_only_where_there_are_several() -> None:
    """And so is what counts the same: with one pair per prompt it is no difference, and reruns nothing."""
    one, several = specs(), specs(pairs__per_prompt=2)
    assert "per_prompt" not in as_json(one.build_pairs("base", "train-000"))
    assert several.build_pairs("base", "train-000").per_prompt == 2
    assert as_json(several.compute_logprobs("base")) == as_json(one.compute_logprobs("base"))
    assert as_json(several.train_policy("rebel-1")) == as_json(one.train_policy("rebel-1"))
    weighted = specs(training__equal_weight="pairs")
    assert as_json(weighted.train_policy("rebel-1")) == as_json(one.train_policy("rebel-1"))
    both = specs(pairs__per_prompt=2, variants__rebel__equal_weight="pairs")
    assert both.train_policy("rebel-1").recipe.equal_weight == "pairs"
    assert as_json(both.train_policy("simpo-1")) == as_json(one.train_policy("simpo-1"))
