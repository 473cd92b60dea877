"""Intervals against theory, and against drawing resamples by hand."""

import math

import numpy as np
import pytest

from rlhf.evaluation.bootstrap import bootstrap_interval


def test_interval_is_that_of_the_normal_approximation_for_many_prompts() -> None:
    values = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=2000, p=[0.2, 0.2, 0.6])
    low, high = bootstrap_interval(values, 2000, 0.9, seed=1)
    half_width = 1.6449 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.15 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.15 * half_width)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval((generator.random(60) < 0.7).astype(float), 300, 0.9, seed)
        covered += low <= 0.7 <= high
    assert 165 <= covered <= 195


def test_interval_depends_on_the_seed_alone() -> None:
    values = np.linspace(0, 1, 50) ** 2
    assert bootstrap_interval(values, 200, 0.95, 1) == bootstrap_interval(values, 200, 0.95, 1)
    assert bootstrap_interval(values, 200, 0.95, 1) != bootstrap_interval(values, 200, 0.95, 2)


@pytest.mark.parametrize("prompts", [2, 400])
def test_interval_is_that_of_resamples_drawn_one_by_one(prompts: int) -> None:
    values, generator = np.random.default_rng(5).random(prompts), np.random.default_rng(3)
    means = [values[generator.integers(prompts, size=prompts)].mean() for _ in range(300)]
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(values, 300, 0.95, 3) == pytest.approx(tuple(expected), abs=1e-15)


def test_interval_of_one_prompt_is_its_value() -> None:
    assert bootstrap_interval(np.array([0.25]), 100, 0.95, 1) == (0.25, 0.25)
