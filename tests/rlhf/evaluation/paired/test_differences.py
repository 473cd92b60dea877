"""Differences between groups of runs: against statsmodels, scipy and simulations whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rlhf.evaluation.paired.differences import Difference, RunNoise, corrected, difference, run_noise
from rlhf.evaluation.paired.panel import Panel, Slope

NO_SLOPE = Slope(0.0, 0.0)
SILENT = RunNoise(0.0, 0.0, 0)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_the_correction_is_that_of_holm(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    np.testing.assert_allclose(corrected(p_values), expected)


def test_single_runs_are_compared_by_a_paired_t_test() -> None:
    random = np.random.default_rng(5)
    values = random.uniform(size=(2, 50))
    found = difference(Panel(values, np.zeros_like(values)), NO_SLOPE, [0], [1], SILENT)
    expected = stats.ttest_rel(*values, alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.two_sided_p_value == pytest.approx(stats.ttest_rel(*values).pvalue)
    low, high = stats.ttest_rel(*values).confidence_interval(0.95)
    assert found.interval(0.95) == pytest.approx((low, high))


def test_one_prompt_or_equal_values_prove_nothing() -> None:
    values = np.full((2, 3), 0.5)
    same = difference(Panel(values, np.zeros_like(values)), NO_SLOPE, [0], [1], SILENT)
    assert (same.p_value, same.two_sided_p_value) == (1, 1)
    alone = difference(Panel(np.array([[1.0], [0.0]]), np.zeros((2, 1))), NO_SLOPE, [0], [1], SILENT)
    assert (alone.value, alone.p_value, alone.interval(0.95)) == (1, 1, None)
    assert Difference(0.1, 0.0, 4).p_value == 0


def test_the_noise_between_runs_is_found() -> None:
    """Two-way analysis of variance: settings of three runs, on 60 prompts that differ."""
    random = np.random.default_rng(7)
    found, expected = [], 0.03**2
    for _ in range(300):
        runs = random.normal(0, 0.03, (12, 1))
        values = runs + random.normal(0, 0.3, 60) + random.normal(0, 0.2, (12, 60))
        groups = [range(start, start + 3) for start in range(0, 12, 3)]
        noise = run_noise(values, groups)
        assert noise.degrees == 8
        found.append(noise.observed - 0.2**2 / 60)
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_the_noise_is_not_known_from_one_run_of_each() -> None:
    assert run_noise(np.random.default_rng(1).uniform(size=(3, 9)), [[0], [1], [2]]) == SILENT


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Runs of noise 0.03, prompts of 0.2, and a true difference of 0.05."""
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(600):
        values = random.normal(0, 0.03, (8, 1)) + random.normal(0, 0.3, 80) + random.normal(0, 0.2, (8, 80))
        values[:2] += 0.05
        noise = run_noise(values, [range(start, start + 2) for start in range(0, 8, 2)])
        found = difference(Panel(values, np.zeros_like(values)), NO_SLOPE, [0, 1], [2, 3], noise)
        interval = found.interval(0.9)
        assert interval is not None
        covered += interval[0] <= 0.05 <= interval[1]
    assert 0.86 <= covered / 600 <= 0.96
