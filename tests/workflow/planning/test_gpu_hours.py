"""Calculated times against the arithmetic by hand."""

import pytest
import yaml

from published_rows import PUBLISHED
from workflow.experiment import Experiment, load_experiment
from workflow.planning.forecast import Forecast


def forecast(base_model: str | None = None, training: dict[str, object] | None = None, **hardware: object) -> Forecast:
    config = yaml.safe_load(PUBLISHED.read_text())
    config["training"] = {**config.get("training", {}), **(training or {})}
    if base_model:
        config["base_model"]["name"] = base_model
    config["hardware"]["train_policy"].update(hardware)
    experiment: Experiment = load_experiment(config, "test")
    return Forecast(experiment, experiment.hardware.train_policy)


def test_sampling_a_part() -> None:
    """7,000 prompts, five draws of 410 tokens, 12,500 tokens per second, two minutes to start."""
    seconds = forecast().seconds("generate_responses", "base", "train-003")
    assert seconds == pytest.approx(120 + 7000 * 5 * 410 / 12_500, rel=1e-3)


def test_training() -> None:
    """6 operations per weight and token of 53,200 pairs of 990 tokens, at 22.5 % of eight H100s."""
    layers, head = 32 * 218_103_808, 128_256 * 4096
    operations = 6 * (layers * 990 + head * 820) * 0.95 * 56_000
    seconds = forecast().seconds("train_policy", "rebel-1", "")
    assert seconds == pytest.approx(120 + operations / (0.225 * 989e12 * 8), rel=1e-3)
    recomputed = forecast(activations="recompute").seconds("train_policy", "rebel-1", "")
    assert recomputed is not None and seconds is not None
    assert (recomputed - 120) / (seconds - 120) == pytest.approx(4 / 3)


def test_scoring_and_log_probabilities() -> None:
    """Forward passes: of a prompt once with its five responses, and with the two of its pair."""
    layers, head = 32 * 218_103_808, 128_256 * 4096
    rate = 402e12
    scoring = forecast().seconds("score_responses", "base", "train-000")
    assert scoring == pytest.approx(120 + 2 * layers * 7000 * (170 + 5 * 410) / rate, rel=1e-3)
    logprobs = forecast().seconds("compute_logprobs", "base", "train-000")
    assert logprobs == pytest.approx(120 + 2 * 0.95 * 7000 * (layers * 990 + head * 820) / rate, rel=1e-3)


def test_a_test_part_takes_its_share() -> None:
    found = [forecast().seconds("judge_responses", "base", part) for part in ("test-000",)]
    assert found[0] == pytest.approx(120 + 1000 / 7000 * (scored("train-000") - 120), rel=1e-3)


def scored(part: str) -> float:
    seconds = forecast().seconds("score_responses", "base", part)
    assert seconds is not None
    return seconds


def test_what_runs_on_no_gpu_and_unknown_models_have_no_time() -> None:
    assert forecast().seconds("build_pairs", "base", "train-000") is None
    unknown = forecast("owner/unknown")
    assert unknown.seconds("generate_responses", "base", "train-000") is None
    assert unknown.unknown_models == ["owner/unknown"]


def test_accumulated_pairs_are_trained_on_in_the_share_that_is_asked_for() -> None:
    """Of 56,000 prompts an iteration; the third has 112,000 earlier ones."""

    def seconds(**training: object) -> float:
        found = forecast(training={"iterations": 3, **training}).seconds("train_policy", "rebel-3", "")
        assert found is not None
        return found - 120

    one = seconds()
    assert seconds(pairs_of="accumulated") == pytest.approx(3 * one)
    assert seconds(pairs_of="accumulated", earlier_share=0.5) == pytest.approx(2 * one)
    assert seconds(pairs_of="accumulated", reference="base", start="base") == pytest.approx(3 * one)
    first = forecast(training={"iterations": 3, "pairs_of": "accumulated", "earlier_share": 0.5})
    assert first.seconds("train_policy", "rebel-1", "") == pytest.approx(one + 120)


def test_drift_is_the_test_responses_under_two_policies() -> None:
    layers, head = 32 * 218_103_808, 128_256 * 4096
    expected = 2 * (120 + 2 * 5000 * (layers * 580 + head * 410) / 402e12)
    assert forecast().seconds("measure_drift", "rebel-1", "") == pytest.approx(expected, rel=1e-3)


def test_four_pairs_are_a_prompt_with_five_responses() -> None:
    layers, head = 32 * 218_103_808, 128_256 * 4096
    config = {**yaml.safe_load(PUBLISHED.read_text()), "pairs": {"per_prompt": 4}}
    experiment = load_experiment(config, "test")
    found = Forecast(experiment, experiment.hardware.train_policy)
    operations = (layers * (170 + 5 * 410) + head * 5 * 410) * 0.95
    training = found.seconds("train_policy", "rebel-1", "")
    assert training == pytest.approx(120 + 6 * operations * 56_000 / (0.225 * 989e12 * 8), rel=1e-3)
    logprobs = found.seconds("compute_logprobs", "base", "train-000")
    assert logprobs == pytest.approx(120 + 2 * operations * 7000 / 402e12, rel=1e-3)


def test_examples_are_every_response_with_another_one_beside_its_prompt() -> None:
    """At most: five per prompt. Training: forward and backward over each, after a forward pass over the mismatched."""
    layers, head = 32 * 218_103_808, 128_256 * 4096
    config = yaml.safe_load(PUBLISHED.read_text())
    config["variants"] = {"kto": {"loss": {"name": "kto"}}}
    config["examples"] = {"desirable_above": 0.15, "undesirable_below": 0.12}
    experiment = load_experiment(config, "test")
    found = Forecast(experiment, experiment.hardware.train_policy)
    examples = 5 * 7000
    logprobs = found.seconds("compute_example_logprobs", "base", "train-000")
    assert logprobs == pytest.approx(120 + 2 * examples * (layers * 990 + head * 820) / 402e12, rel=1e-3)
    once = 5 * 56_000 * (layers * 580 + head * 410)
    expected = 120 + 6 * once / (0.225 * 989e12 * 8) + 2 * once / (402e12 * 8)
    assert found.seconds("train_policy", "kto-1", "") == pytest.approx(expected, rel=1e-3)
    assert found.gigabytes["compute_example_logprobs"] == found.gigabytes["compute_logprobs"]
