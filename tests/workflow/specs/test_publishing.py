"""What is published: the results that others need to train the policies again."""

from typing import Any

from experiments import MICRO, PUBLISHED, experiment
from workflow.paths import Paths
from workflow.specs.programs import as_json
from workflow.specs.publishing import (
    publish_spec,
    published_checkpoints,
    published_files,
    published_world,
)


def paths(name: str = MICRO, **patches: Any) -> Paths:
    return Paths(experiment(name, **patches))


def files(of: Paths) -> set[str]:
    found = published_files(of)
    assert len(found) == len(set(found))
    return {path.removeprefix(f"{of.results}/").removesuffix(".parquet") for path in found}


def parts(policy: str, *kinds: str, train: int = 2) -> set[str]:
    names = [*(f"train-{part:03d}" for part in range(train)), "test-000"]
    return {f"{policy}/{kind}/{name}" for kind in kinds for name in names}


WHOLE = {"prompts", "length_control", "world/prompts"}
TRAINED_ON = ("responses", "rewards", "pairs", "logprobs")


def about(policy: str) -> set[str]:
    trained = set() if policy == "base" else {f"{policy}/training"}
    return trained | {f"{policy}/{name}" for name in ("evaluation", "comparisons", "judgements/test-000")}


def test_all_policies_with_what_they_were_trained_on() -> None:
    tests = {f"{policy}/{kind}/test-000" for policy in ("rebel-2", "simpo-1") for kind in ("responses", "rewards")}
    expected = WHOLE | parts("base", *TRAINED_ON) | parts("rebel-1", *TRAINED_ON) | tests
    assert files(paths()) == expected.union(*map(about, ("base", "rebel-1", "rebel-2", "simpo-1")))
    assert published_checkpoints(paths()) == [
        f"results/micro/{p}/checkpoint" for p in ("rebel-1", "rebel-2", "simpo-1")
    ]
    made = ("tokenizer", "pretrained", "policy", "reward_model")
    assert published_world(paths()) == [f"results/micro/world/{name}" for name in made]


def test_some_policies_with_those_before_them() -> None:
    of = paths(publish__policies=["rebel-2"])
    tests = {"rebel-2/responses/test-000", "rebel-2/rewards/test-000"}
    expected = WHOLE | parts("base", *TRAINED_ON) | parts("rebel-1", *TRAINED_ON) | tests
    assert files(of) == expected.union(*map(about, ("base", "rebel-1", "rebel-2")))
    assert published_checkpoints(of) == ["results/micro/rebel-2/checkpoint"]
    without_reference = paths(publish__policies=["simpo-1"])
    assert not [path for path in files(without_reference) if "logprobs" in path]


def test_examples_are_published_in_place_of_pairs() -> None:
    kto = {"loss": {"name": "kto"}, "iterations": 2}
    of = paths(variants={"kto": kto}, examples={"desirable_above": 0.5, "undesirable_below": 0.5})
    learned = ("responses", "rewards", "examples", "example_logprobs")
    tests = {"kto-2/responses/test-000", "kto-2/rewards/test-000"}
    expected = WHOLE | parts("base", *learned) | parts("kto-1", *learned) | tests
    assert files(of) == expected.union(*map(about, ("base", "kto-1", "kto-2")))


def test_the_published_experiment_names_what_it_derives_from() -> None:
    spec = publish_spec(experiment(PUBLISHED, base_model__revision="a" * 40))
    sources = {source.key: source for source in spec.sources}
    base, prompts = sources["base_model"].model, sources["prompts"].dataset
    assert base is not None
    assert (base.name, base.revision) == ("meta-llama/Meta-Llama-3-8B-Instruct", "a" * 40)
    assert prompts is not None
    assert prompts.name == experiment(PUBLISHED).prompts.dataset
    assert sources["rewards"].model is not None
    assert published_world(paths(PUBLISHED)) == []
    assert {source.made_here for source in publish_spec(experiment(MICRO)).sources} == {
        "world/policy",
        "world/prompts.parquet",
        "world/reward_model",
    }


def test_the_configuration_is_that_of_the_file_without_what_concerns_this_machine() -> None:
    given = experiment(MICRO, publish__namespace="org", reuse=["results/secret"])
    spec = publish_spec(given)
    assert not {"hardware", "reuse", "publish"} & spec.configuration.keys()
    assert "results/secret" not in as_json(spec)
    again = type(given).model_validate({**spec.configuration, "hardware": given.hardware.model_dump()})
    assert again.recipe("rebel") == given.recipe("rebel")
    assert again.model_copy(update={"publish": given.publish, "reuse": given.reuse}) == given
