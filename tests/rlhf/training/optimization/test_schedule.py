"""The learning rate's shape and values, and the steps of an epoch."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.training.optimization.schedule import Schedule
from rlhf.training.settings import RecipeSettings
from small_models import random_pairs

recipes = st.builds(RecipeSettings, warmup=st.floats(0, 1), learning_rate=st.floats(1e-7, 1e-2))


def rates_of(recipe: RecipeSettings, steps: int) -> list[float]:
    schedule = Schedule(recipe, steps * recipe.batch_size, seed=0)
    assert schedule.steps == steps
    return [schedule.learning_rate(step) for step in range(1, steps + 1)]


@given(recipes, st.integers(1, 300))
def test_the_learning_rate_rises_then_falls_and_is_never_zero(recipe: RecipeSettings, total: int) -> None:
    rates = rates_of(recipe, total)
    warmup = math.ceil(recipe.warmup * total)
    assert all(0 < rate <= recipe.learning_rate for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == recipe.learning_rate


def test_the_published_schedule() -> None:
    """468 steps, 10 % warm-up, cosine to zero: values by hand."""
    peak = RecipeSettings().learning_rate
    rates = rates_of(RecipeSettings(), 468)
    assert rates[0] == pytest.approx(peak / 47)
    assert rates[46] == peak
    middle = 47 + (468 - 47) // 2
    assert rates[middle] == pytest.approx(peak / 2, rel=0.01)
    assert rates[-1] == pytest.approx(peak * 0.5 * (1 - math.cos(math.pi / 421)))
    assert rates[-1] < 2e-5 * peak
    assert sum(rates) == pytest.approx(peak * (48 / 2 + 422 / 2), rel=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_single_step_has_the_peak_learning_rate(warmup: float) -> None:
    assert rates_of(RecipeSettings(warmup=warmup, learning_rate=1e-3), 1) == [1e-3]


@pytest.mark.parametrize(
    ("recipe", "pairs", "steps"),
    [
        (RecipeSettings(batch_size=4, epochs=3), 13, 9),
        (RecipeSettings(batch_size=4, pairs=22), 13, 5),
        (RecipeSettings(batch_size=16, epochs=2), 13, 2),
        (RecipeSettings(batch_size=16, pairs=30), 13, 2),
        (RecipeSettings(batch_size=4, pairs=1), 13, 1),
    ],
    ids=["epochs", "pairs", "epochs of less than a batch", "pairs, of less than a batch", "less than a batch"],
)
def test_the_number_of_steps(recipe: RecipeSettings, pairs: int, steps: int) -> None:
    assert Schedule(recipe, pairs, seed=0).steps == steps


def test_epochs_drop_the_incomplete_batch_and_differ_in_order() -> None:
    pairs = random_pairs(13)
    schedule = Schedule(RecipeSettings(batch_size=4, epochs=2), len(pairs), seed=7)
    first, second = (
        [pair.prompt_id for step in steps for pair in schedule.batch(pairs, step)]
        for steps in (range(1, 4), range(4, 7))
    )
    assert len(first) == len(second) == 12
    assert len(set(first)) == len(set(second)) == 12
    assert first != second
    assert schedule.epoch(3) == 1.0


def test_validation_at_its_interval_and_at_the_end() -> None:
    schedule = Schedule(RecipeSettings(batch_size=4, epochs=3, validation_interval=4), 13, seed=0)
    assert [step for step in range(1, 10) if schedule.validates_after(step)] == [4, 8, 9]
