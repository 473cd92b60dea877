"""Wrong configurations: each is refused with its key, what it was, and what it may be."""

import pytest

from experiments import patch, read_config
from rlhf.base.errors import UserError
from rlhf.rewards.scorer import RewardSettings
from rlhf.training.loss import Loss
from workflow.experiment import Experiment, load_experiment

CASES: list[tuple[str, object, list[str]]] = [
    ("experiment", ..., ["experiment", "missing"]),
    ("experiment", "../other", ["experiment", "'../other'", "pattern"]),
    ("prompts", ..., ["prompts", "missing"]),
    ("variants", {}, ["variants", "at least 1"]),
    ("seed", "1", ["seed", "'1'", "integer"]),
    ("seed", -1, ["seed", "-1", "greater than or equal to 0"]),
    ("environments", "docker", ["environments", "'docker'", "'conda' or 'embedded'"]),
    ("responses.engine", "vlm", ["responses.engine", "'vlm'", "'transformers' or 'vllm'"]),
    ("responses.temperature", 0, ["responses.temperature", "0", "greater than or equal to 0.01"]),
    ("responses.temperature", 1e-320, ["responses.temperature", "1e-320", "greater than or equal to 0.01"]),
    ("responses.temperature", 1e300, ["responses.temperature", "less than or equal to 100"]),
    ("responses.temperature", "0.8", ["responses.temperature", "'0.8'", "YAML reads this as text"]),
    ("responses.top_p", 1.5, ["responses.top_p", "1.5", "less than or equal to 1"]),
    ("responses.draws", 1, ["responses.draws", "1", "greater than or equal to 2"]),
    ("responses.draws", 2.5, ["responses.draws", "2.5"]),
    ("responses.temprature", 0.8, ["responses.temprature", "no such key", "`temperature`"]),
    ("reponses", {}, ["reponses", "no such key", "`responses`"]),
    ("prompts.train", 0, ["prompts.train", "0", "greater than or equal to 1"]),
    ("prompts.part_size", "all", ["prompts.part_size", "'all'", "integer"]),
    ("prompts.per_iteration", "some", ["prompts.per_iteration", "'some'", "'all'"]),
    ("prompts.per_iteration", 2, ["prompts.per_iteration", "2 iterations", "need 4"]),
    ("rewards.kind", "arma", ["rewards", "'arma'", ", ".join(map(repr, RewardSettings.choices()))]),
    ("rewards", {"kind": "function", "function": "score"}, ["rewards.function:", "'score'", "pattern"]),
    ("rewards.model", "{results}/world/other", ["rewards.model", "no rule makes", "{results}/world/reward_model"]),
    ("base_model.name", "{results}/nothing", ["base_model.name", "no rule makes"]),
    ("training.learning_rate", "3e-7", ["training.learning_rate", "'3e-7'", "YAML reads this as text", "3e-07"]),
    ("training.learning_rate", 0.0, ["training.learning_rate", "greater than or equal to 1e-12"]),
    ("training.learning_rate", float("nan"), ["training.learning_rate", "finite"]),
    ("training.batch_size", None, ["training.batch_size", "None", "integer"]),
    ("training.adam_beta1", 1.0, ["training.adam_beta1", "less than 1"]),
    (
        "variants.rebel.loss.name",
        "reble",
        ["variants.rebel.loss", "'reble'", ", ".join(map(repr, Loss.choices()))],
    ),
    ("variants.rebel.loss.beta", 1.0, ["variants.rebel.loss.beta", "no such key", "eta"]),
    ("variants.rebel.loss", ..., ["variants.rebel.loss", "missing"]),
    ("variants.rebel.lr", 1.0e-3, ["variants.rebel.lr", "no such key", "learning_rate"]),
    ("variants.base", {"loss": {"name": "dpo"}}, ["`base`", "rename"]),
    ("variants.Rebel-1", {"loss": {"name": "dpo"}}, ["variants.Rebel-1", "pattern"]),
    ("hardware.train_polcy", {}, ["hardware.train_polcy", "no such key", "`train_policy`"]),
    ("hardware.train_policy.gpu", -1, ["hardware.train_policy.gpu", "-1"]),
    ("hardware.train_policy", {"runtime": 5, "stop_seconds": 300}, ["stop_seconds 300", "5 minute", "`runtime`"]),
    ("tiny", None, ["no rule makes", "tiny"]),
    ("pairs.choose", "median", ["pairs.choose", "'median'", "'best_worst'"]),
    ("evaluation.confidence", 95, ["evaluation.confidence", "95", "less than 1"]),
]


@pytest.mark.parametrize(("path", "value", "said"), CASES, ids=[f"{path}={value}" for path, value, _ in CASES])
def test_wrong_value_is_refused_with_its_key(path: str, value: object, said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_experiment(patch(read_config("config"), {path: value}), "config/config.yaml")
    message = str(caught.value)
    assert message.startswith("config/config.yaml: ")
    for words in said:
        assert words in message


def test_all_errors_are_told_at_once() -> None:
    config = patch(read_config("config"), {"seed": "x", "prompts.train": 0})
    with pytest.raises(UserError, match=r"(?s)seed.*prompts\.train"):
        load_experiment(config, "config.yaml")


@pytest.mark.parametrize("name", ["config", "micro", "llama3-8b-ultrafeedback"])
def test_experiments_of_the_repository_are_valid(name: str) -> None:
    load_experiment(read_config(name), name)


def test_published_hyperparameters() -> None:
    experiment = load_experiment(read_config("llama3-8b-ultrafeedback"), "")
    recipe = experiment.recipe("rebel")
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs) == (3.0e-7, 128, 1)
    assert (recipe.adam_beta1, recipe.adam_beta2, recipe.adam_epsilon) == (0.9, 0.95, 1.0e-8)
    assert (recipe.weight_decay, recipe.warmup, recipe.max_grad_norm) == (1.0e-6, 0.1, None)
    responses = experiment.responses
    assert (responses.draws, responses.temperature, responses.top_p, responses.max_tokens) == (5, 0.8, 0.9, 2048)
    assert experiment.variants["rebel"].loss.model_dump() == {"name": "rebel", "eta": 1.0e6}
    assert experiment.recipe("simpo").learning_rate == 1.0e-6


def test_variant_takes_what_it_does_not_set_from_training() -> None:
    config = patch(read_config("micro"), {"training.epochs": 3, "variants.simpo.learning_rate": 0.5})
    experiment = load_experiment(config, "")
    assert (experiment.recipe("simpo").epochs, experiment.recipe("simpo").learning_rate) == (3, 0.5)
    assert experiment.recipe("rebel").learning_rate == config["training"]["learning_rate"]
    assert (experiment.iterations("rebel"), experiment.iterations("simpo")) == (2, 1)


def test_policies_and_parts() -> None:
    experiment = load_experiment(read_config("micro"), "")
    assert experiment.policies() == ["base", "rebel-1", "rebel-2", "simpo-1"]
    assert experiment.train_parts(1) == experiment.train_parts(2) == ["train-000", "train-001"]
    assert experiment.test_parts() == ["test-000"]


def test_each_iteration_may_have_train_parts_of_its_own() -> None:
    experiment = load_experiment(patch(read_config("micro"), {"prompts.per_iteration": 1}), "")
    assert [experiment.train_parts(iteration) for iteration in (1, 2)] == [["train-000"], ["train-001"]]


def test_partial_hardware_keeps_the_defaults_of_its_rule() -> None:
    experiment = load_experiment(
        patch(read_config("llama3-8b-ultrafeedback"), {"hardware": {"train_policy": {"gpu": 2}}}), ""
    )
    default = Experiment.model_fields["hardware"].default
    assert experiment.hardware.train_policy == default.train_policy.model_copy(update={"gpu": 2})
