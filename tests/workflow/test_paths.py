"""Which files a rule reads, for experiments of each form."""

from typing import Any

import pytest

from experiments import MICRO, PUBLISHED, experiment
from workflow.paths import Paths

COMBINED = {
    "kind": "combined",
    "scorers": {
        "taste": {"scorer": {"kind": "armo", "model": "{results}/world/reward_model"}},
        "length": {"scorer": {"kind": "function", "function": "my_rewards:length"}},
    },
}


def paths(name: str = MICRO, **patches: Any) -> Paths:
    return Paths(experiment(name, **patches))


def test_models_that_a_rule_makes_are_files_and_others_are_none() -> None:
    assert paths().policy_folder("base") == ["results/micro/world/policy"]
    assert paths().policy_folder("rebel-2") == ["results/micro/rebel-2/checkpoint"]
    assert paths(PUBLISHED).policy_folder("base") == []
    scorers = [found.experiment.scorer(None) for found in (paths(), paths(PUBLISHED))]
    assert paths().reward_model_folder(scorers[0]) == ["results/micro/world/reward_model"]
    assert paths(PUBLISHED).reward_model_folder(scorers[1]) == []


def test_contamination_is_listed_where_there_are_benchmarks() -> None:
    assert paths().contamination == []
    assert paths(prompts__decontaminate=[{"dataset": "a/b"}]).contamination == ["results/micro/contamination.parquet"]
    assert paths(PUBLISHED).contamination == ["results/llama3-8b-ultrafeedback/contamination.parquet"]


def test_a_training_reads_the_train_parts_of_its_parent() -> None:
    expected = ["results/micro/rebel-1/pairs/train-000.parquet", "results/micro/rebel-1/pairs/train-001.parquet"]
    assert paths().training_pairs("rebel-2") == expected
    assert paths().validation_pairs("rebel-2") == ["results/micro/rebel-1/pairs/test-000.parquet"]
    assert paths().training_pairs("simpo-1")[0] == "results/micro/base/pairs/train-000.parquet"


def test_with_parts_of_its_own_each_iteration_reads_another_one() -> None:
    found = paths(prompts__per_iteration=1)
    assert [found.training_pairs(f"rebel-{i}") for i in (1, 2)] == [
        ["results/micro/base/pairs/train-000.parquet"],
        ["results/micro/rebel-1/pairs/train-001.parquet"],
    ]


@pytest.mark.parametrize(("policy", "needs"), [("rebel-1", True), ("simpo-1", False)])
def test_a_loss_without_a_reference_needs_no_logprobs(policy: str, needs: bool) -> None:
    for pairs in (paths().training_pairs(policy), paths().validation_pairs(policy)):
        assert bool(paths().under_reference(pairs, policy)) is needs


def test_a_loss_that_learns_from_examples_reads_those_and_no_pairs() -> None:
    kto = {"loss": {"name": "kto"}, "iterations": 2, "pairs_of": "accumulated"}
    of = paths(variants={"kto": kto}, examples={"desirable_above": 0.5, "undesirable_below": 0.5})
    for policy in ("kto-1", "kto-2"):
        assert of.training_pairs(policy) == of.earlier_pairs(policy) == of.validation_pairs(policy) == []
    parts = [f"examples/train-{part:03d}.parquet" for part in (0, 1)]
    assert of.training_examples("kto-2") == [f"results/micro/kto-1/{part}" for part in parts]
    assert of.earlier_examples("kto-2") == [f"results/micro/base/{part}" for part in parts]
    assert of.validation_examples("kto-2") == ["results/micro/kto-1/examples/test-000.parquet"]
    under = of.under_reference([*of.training_examples("kto-2"), *of.earlier_examples("kto-2")], "kto-2")
    assert under[0] == "results/micro/kto-1/example_logprobs/train-000.parquet"
    assert under[2] == "results/micro/base/example_logprobs/kto-1/train-000.parquet"
    assert of.all_training_pairs() == []
    assert not [path for policy in ("rebel-1", "simpo-1") for path in paths().training_examples(policy)]


def test_judgements_are_there_where_the_evaluation_has_a_judge() -> None:
    assert paths().judgements("rebel-1") == ["results/micro/rebel-1/judgements/test-000.parquet"]
    assert paths(evaluation__judge=None).judgements("rebel-1") == []
    assert len(paths().all_judgements()) == len(paths().experiment.policies())


def test_scores_of_several_scorers_are_in_the_order_of_their_names() -> None:
    assert paths().scores("base", "train-000") == []
    names = ["length", "taste"]
    expected = [f"results/micro/base/scores/{name}/train-000.parquet" for name in names]
    assert paths(rewards=COMBINED).scores("base", "train-000") == expected


def test_pairs_that_several_policies_are_trained_on_are_named_once() -> None:
    found = paths().all_training_pairs()
    assert len(found) == len(set(found)) == 4
    assert {path.split("/")[2] for path in found} == {"base", "rebel-1"}
