"""What an iteration takes from earlier ones: files and settings by choice, and none of it in the first."""

import json
from typing import Any

import pytest

from experiments import MICRO, PUBLISHED, experiment
from workflow.iterations import training_prompts
from workflow.paths import Paths
from workflow.specs.programs import Specs, as_json

ROOT = "results/micro"
CHOICES: list[dict[str, Any]] = [
    {"reference": "base"},
    {"start": "base"},
    {"pairs_of": "accumulated"},
    {"pairs_of": "accumulated", "earlier_share": 0.25},
    {"reference": "base", "start": "base", "pairs_of": "accumulated"},
    {"pairs__pool": ["parent", "base", "earlier"]},
]


def chosen(name: str = MICRO, **training: Any) -> tuple[Paths, Specs]:
    """Three iterations of rebel with these keys of `training`; keys of other sections have `__` for the dot."""
    others = {key: value for key, value in training.items() if "__" in key}
    keys = {f"training__{key}": value for key, value in training.items() if key not in others}
    found = experiment(name, variants__rebel__iterations=3, **keys, **others)
    return Paths(found), Specs(found)


def files(policy: str, artifact: str, *parts: str) -> list[str]:
    return [f"{ROOT}/{policy}/{artifact}/{part}.parquet" for part in parts or ("train-000", "train-001")]


def test_by_default_all_is_of_the_parent_and_where_it_always_was() -> None:
    paths, specs = chosen()
    pairs, validation = paths.training_pairs("rebel-3"), paths.validation_pairs("rebel-3")
    assert pairs == files("rebel-2", "pairs")
    assert paths.under_reference(pairs, "rebel-3") == files("rebel-2", "logprobs")
    assert paths.under_reference(validation, "rebel-3") == files("rebel-2", "logprobs", "test-000")
    assert (paths.earlier_pairs("rebel-3"), paths.separate_reference("rebel-3")) == ([], [])
    spec = json.loads(as_json(specs.train_policy("rebel-3")))
    assert spec["lineage"].keys() == {"base_model", "parent", "dataset"}
    assert not {"reference_model", "earlier_share"} & spec.keys()
    assert "pool" not in json.loads(as_json(specs.build_pairs("rebel-2", "train-000")))


def test_a_fixed_reference_is_a_folder_of_log_probabilities_and_an_input() -> None:
    paths, specs = chosen(reference="base")
    pairs, validation = paths.training_pairs("rebel-3"), paths.validation_pairs("rebel-3")
    assert paths.under_reference(pairs, "rebel-3") == files("rebel-2", "logprobs/base")
    assert paths.under_reference(validation, "rebel-3") == files("rebel-2", "logprobs/base", "test-000")
    assert paths.separate_reference("rebel-3") == [f"{ROOT}/world/policy"]
    spec = specs.train_policy("rebel-3")
    assert (spec.lineage.first_weights, spec.lineage.reference_policy) == ("rebel-2", "base")
    assert not spec.starts_from_reference


def test_a_reference_from_the_hub_is_a_setting() -> None:
    paths, specs = chosen(PUBLISHED, reference="base")
    assert paths.separate_reference("rebel-2") == []
    spec = specs.train_policy("rebel-2")
    assert spec.model is None and spec.reference_model is not None
    assert spec.reference_model.name == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert specs.train_policy("rebel-1").reference_model is None


def test_start_and_reference_may_both_be_base_and_are_then_one() -> None:
    paths, specs = chosen(reference="base", start="base")
    assert paths.separate_reference("rebel-3") == []
    assert specs.train_policy("rebel-3").starts_from_reference
    paths, specs = chosen(start="base")
    spec = specs.train_policy("rebel-3")
    assert (spec.lineage.start, spec.lineage.reference_policy) == ("base", "rebel-2")
    assert not spec.starts_from_reference
    assert paths.separate_reference("rebel-3") == [f"{ROOT}/rebel-2/checkpoint"]


def test_accumulated_pairs_are_under_the_reference_of_each_iteration() -> None:
    paths, specs = chosen(pairs_of="accumulated")
    earlier = paths.earlier_pairs("rebel-3")
    assert earlier == [*files("base", "pairs"), *files("rebel-1", "pairs")]
    under_parent = [*files("base", "logprobs/rebel-2"), *files("rebel-1", "logprobs/rebel-2")]
    assert paths.under_reference(earlier, "rebel-3") == under_parent
    fixed = chosen(pairs_of="accumulated", reference="base")[0]
    under_base = [*files("base", "logprobs"), *files("rebel-1", "logprobs/base")]
    assert fixed.under_reference(earlier, "rebel-3") == under_base
    assert specs.train_policy("rebel-3").lineage.earlier == ["base", "rebel-1"]
    assert training_prompts(paths.experiment, "rebel-3") == (8, 16)


def test_with_parts_of_its_own_each_iteration_accumulates_those_of_the_others() -> None:
    patches = {"prompts__per_iteration": 1, "prompts__train": 12}
    paths, _ = chosen(pairs_of="accumulated", **patches)
    assert paths.training_pairs("rebel-3") == files("rebel-2", "pairs", "train-002")
    expected = [*files("base", "pairs", "train-000"), *files("rebel-1", "pairs", "train-001")]
    assert paths.earlier_pairs("rebel-3") == expected
    assert training_prompts(paths.experiment, "rebel-3") == (4, 8)


def test_shares_are_a_setting_where_there_are_earlier_pairs() -> None:
    specs = chosen(pairs_of="accumulated", earlier_share=0.25)[1]
    assert [specs.train_policy(f"rebel-{number}").earlier_share for number in (1, 2, 3)] == [None, 0.25, 0.25]


def test_a_loss_without_a_reference_ignores_that_of_training() -> None:
    paths, specs = chosen(reference="base", variants__simpo__iterations=2)
    assert paths.under_reference(paths.training_pairs("simpo-2"), "simpo-2") == []
    spec = specs.train_policy("simpo-2")
    assert spec.lineage.reference is None and spec.starts_from_reference
    assert as_json(spec) == as_json(chosen(variants__simpo__iterations=2)[1].train_policy("simpo-2"))


def test_a_pool_has_the_responses_of_several_policies_whatever_their_order_in_the_file() -> None:
    paths, specs = chosen(pairs__pool=["earlier", "base", "parent"])
    pool = ["rebel-2", "base", "rebel-1"]
    assert specs.build_pairs("rebel-2", "train-000").pool == pool
    for artifact in ("responses", "rewards"):
        expected = [f"{ROOT}/{policy}/{artifact}/train-000.parquet" for policy in pool]
        assert paths.pooled_parts(artifact, "rebel-2", "train-000") == expected
    assert specs.build_pairs("rebel-1", "train-000").pool == ["rebel-1", "base"]
    lineage = specs.train_policy("rebel-3").lineage
    assert (lineage.earlier, lineage.responses_of) == ([], ["base", "rebel-1"])


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_the_first_iteration_is_the_same_whatever_is_chosen(choice: dict[str, Any]) -> None:
    for policy in ("rebel-1", "simpo-1"):
        assert first_iteration(*chosen(**choice), policy) == first_iteration(*chosen(), policy)


def first_iteration(paths: Paths, specs: Specs, policy: str) -> list[object]:
    pairs = [*paths.training_pairs(policy), *paths.validation_pairs(policy)]
    return [
        as_json(specs.train_policy(policy)),
        as_json(specs.build_pairs("base", "train-000")),
        as_json(specs.compute_logprobs("base")),
        pairs,
        paths.under_reference(pairs, policy),
        paths.earlier_pairs(policy),
        paths.separate_reference(policy),
        paths.pooled_parts("responses", "base", "train-000"),
    ]
