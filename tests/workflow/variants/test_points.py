"""The points of a sweep and their names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from workflow.variants.points import changes_of, point_name
from workflow.variants.settings import SweepSettings, VariantName


def sweep(**settings: Any) -> SweepSettings:
    return SweepSettings.model_validate({"variant": "rebel", "pilot": 100, **settings})


def test_every_combination_is_a_point_and_texts_that_are_numbers_are_numbers() -> None:
    """YAML reads `1e-7` as text."""
    found = changes_of("rates", sweep(over={"learning_rate": ["1e-7", 3.0e-7], "loss.eta": ["1e4", 1.0e6]}), 1)
    assert found == [
        {"learning_rate": 1e-7, "loss.eta": 1e4},
        {"learning_rate": 1e-7, "loss.eta": 1e6},
        {"learning_rate": 3e-7, "loss.eta": 1e4},
        {"learning_rate": 3e-7, "loss.eta": 1e6},
    ]
    assert [point_name("rebel", changes) for changes in found[1:3]] == ["rebel_lr1e-7_eta1e6", "rebel_lr3e-7_eta1e4"]


def test_points_that_are_written_out_follow() -> None:
    found = changes_of("x", sweep(over={"epochs": [1, 2]}, points=[{"epochs": 4, "loss.eta": "1e3"}]), 1)
    assert found == [{"epochs": 1}, {"epochs": 2}, {"epochs": 4, "loss.eta": 1000.0}]
    assert changes_of("x", sweep(points=[{"epochs": 3}]), 1) == [{"epochs": 3}]


def test_more_draws_keep_the_others_and_depend_on_seed_and_name() -> None:
    over = {"learning_rate": {"low": "1e-7", "high": "1e-5"}, "batch_size": [64, 128]}
    few, many = (changes_of("random", sweep(over=over, draws=draws), 1) for draws in (5, 40))
    assert many[:5] == few
    assert {changes["batch_size"] for changes in many} == {64, 128}
    rates = [float(str(changes["learning_rate"])) for changes in many]
    assert all(1e-7 <= rate <= 1e-5 and float(f"{rate:.3g}") == rate for rate in rates)
    assert sum(rate < 1e-6 for rate in rates) in range(12, 29)  # half of the logarithmic scale
    others = [changes_of(name, sweep(over=over, draws=5), seed) for name, seed in (("random", 2), ("other", 1))]
    assert few not in others


def test_a_linear_range_is_even() -> None:
    drawn = changes_of("x", sweep(over={"warmup": {"low": 0, "high": 1, "scale": "linear"}}, draws=200), 1)
    assert sum(float(str(changes["warmup"])) for changes in drawn) / 200 == pytest.approx(0.5, abs=0.07)


@given(st.floats(1e-300, 1e300) | st.integers(0, 10**12))
def test_the_number_in_a_name_is_the_number(value: float) -> None:
    name = point_name("rebel", {"loss.eta": value})
    assert float(name.removeprefix("rebel_eta")) == value
    assert len(name) <= len(f"rebel_eta{value!r}")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 3e-7}, "dpo_lr3e-7"),
        ({"learning_rate": 0.5, "batch_size": 128}, "dpo_lr0.5_batch128"),
        ({"loss.eta": 100000.0}, "dpo_eta1e5"),
        ({"optimizer": "adamw_8bit"}, "dpo_optimizeradamw_8bit"),
        ({"max_grad_norm": None}, "dpo_max_grad_normnone"),
        ({"lora.alpha": 8, "loss.alpha": 1.5}, "dpo_lora_alpha8_loss_alpha1.5"),
        ({"loss.shift": -0.25}, "dpo_shift-0.25"),
    ],
)
def test_names_can_be_read_and_are_names_of_variants(changes: dict[str, Any], name: str) -> None:
    assert point_name("dpo", changes) == name
    assert TypeAdapter(VariantName).validate_python(name) == name
