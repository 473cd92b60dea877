"""The length control: planted policies, an independent regression, its interval, and where it says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.length_control import (
    FEW_PROMPTS,
    ONE_SIDED,
    SEPARATED,
    length_controlled,
)

Values = NDArray[np.float64]


Numbers = Values | list[float]


def comparisons(preferences: Numbers, differences: Numbers, per_prompt: int = 1) -> Comparisons:
    names = np.array([f"{row // per_prompt:05}" for row in range(len(preferences))])
    return Comparisons(names, np.asarray(preferences, float), np.asarray(differences, float))


def planted(
    skill: float, length_effect: float, longer: float, seed: int, prompts: int = 1000, difficulty_effect: float = 0.0
) -> tuple[Comparisons, Values]:
    """Comparisons of a policy of known skill whose responses are longer on average, and the prompts' difficulty."""
    chance = np.random.default_rng(seed)
    differences = np.round(chance.normal(longer, 100, prompts))
    difficulty = chance.normal(size=prompts)
    difficulty = (difficulty - difficulty.mean()) / difficulty.std()
    logits = skill + length_effect * np.tanh(differences / differences.std()) + difficulty_effect * difficulty
    return comparisons((chance.random(prompts) < expit(logits)).astype(float), differences), difficulty


def rate_of(found: Comparisons, difficulty: Values | None = None) -> float:
    names = found.prompts[0]
    rate = length_controlled(found, np.zeros(len(names)) if difficulty is None else difficulty, 0.95).rate
    assert rate is not None
    return rate


def test_a_longer_but_worse_policy_falls() -> None:
    found, _ = planted(skill=-0.4, length_effect=1.5, longer=100, seed=1)
    assert found.preferences.mean() > 0.55
    controlled = length_controlled(found, np.zeros(1000), 0.95)
    assert controlled.rate is not None
    assert controlled.high is not None
    assert controlled.rate == pytest.approx(expit(-0.4), abs=0.05)
    assert controlled.high < 0.5


def test_a_better_policy_wins_at_equal_length_too() -> None:
    found, _ = planted(skill=0.6, length_effect=1.0, longer=-50, seed=2)
    controlled = length_controlled(found, np.zeros(1000), 0.95)
    assert controlled.low is not None
    assert controlled.low > 0.5
    assert controlled.rate == pytest.approx(expit(0.6), abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_an_equal_policy_gets_one_half_within_its_interval(seed: int) -> None:
    found, _ = planted(skill=0.0, length_effect=1.0, longer=30, seed=10 + seed)
    controlled = length_controlled(found, np.zeros(1000), 0.999)
    assert controlled.low is not None
    assert controlled.high is not None
    assert controlled.low < 0.5 < controlled.high


@pytest.mark.parametrize("per_prompt", [1, 3])
def test_it_agrees_with_an_unregularised_regression_by_a_generic_optimizer(per_prompt: int) -> None:
    """With 3,000 rows the penalty that cross-validation chooses hardly matters."""
    chance = np.random.default_rng(3)
    prompts = 3000 // per_prompt
    difficulty = chance.normal(size=prompts)
    difficulty = (difficulty - difficulty.mean()) / difficulty.std()
    differences = np.round(chance.normal(20, 80, 3000))
    feature = np.tanh(differences / differences.std())
    preferences = expit(0.3 + 1.2 * feature + 0.8 * np.repeat(difficulty, per_prompt) + chance.normal(0, 0.5, 3000))

    def cross_entropy(coefficients: Values) -> float:
        logits = coefficients[0] * feature + coefficients[1] * np.repeat(difficulty, per_prompt) + coefficients[2]
        return float((np.logaddexp(0, logits) - preferences * logits).mean())

    found = minimize(cross_entropy, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    expected = expit(found[1] * difficulty + found[2]).mean()
    assert rate_of(comparisons(preferences, differences, per_prompt), difficulty) == pytest.approx(expected, abs=0.002)


def test_difficulty_of_prompts_explains_what_length_does_not() -> None:
    """Long responses on easy prompts: without the difficulty the wins there look like wins by length."""
    chance = np.random.default_rng(4)
    difficulty = chance.normal(size=3000)
    difficulty = (difficulty - difficulty.mean()) / difficulty.std()
    differences = np.round(100 * difficulty + chance.normal(80, 60, 3000))
    wins = (chance.random(3000) < expit(0.5 + 1.5 * difficulty)).astype(float)
    found = comparisons(wins, differences)
    truth = expit(0.5 + 1.5 * difficulty).mean()
    assert rate_of(found, difficulty) == pytest.approx(truth, abs=0.03)
    assert rate_of(found) < truth - 0.1


def test_swapping_both_sides_mirrors_the_rate() -> None:
    found, difficulty = planted(skill=0.4, length_effect=1.0, longer=60, seed=5, difficulty_effect=0.7)
    mirrored = comparisons(1 - found.preferences, -found.length_differences)
    assert rate_of(mirrored, -difficulty) == pytest.approx(1 - rate_of(found, difficulty), abs=1e-3)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """60 samples: an 80 % interval misses 12 times, beyond 3 to 25 with a chance of one in ten thousand."""
    truth, misses = expit(0.3), 0
    for seed in range(60):
        found, _ = planted(skill=0.3, length_effect=1.0, longer=50, seed=100 + seed, prompts=400)
        controlled = length_controlled(found, np.zeros(400), 0.8)
        assert controlled.low is not None
        assert controlled.high is not None
        misses += not controlled.low <= truth <= controlled.high
    assert 3 <= misses <= 25


def test_rows_of_a_prompt_are_no_independent_prompts() -> None:
    """Ten copies of each row: the same rate, the same interval."""
    found, difficulty = planted(skill=0.3, length_effect=1.0, longer=20, seed=6, prompts=300)
    copies = comparisons(np.repeat(found.preferences, 10), np.repeat(found.length_differences, 10), per_prompt=10)
    once, ten_times = (length_controlled(rows, difficulty, 0.95) for rows in (found, copies))
    for one, other in zip(
        (once.rate, once.low, once.high), (ten_times.rate, ten_times.low, ten_times.high), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-4)


def test_equal_lengths_keep_the_win_rate() -> None:
    """Up to the penalty."""
    found = comparisons([1.0, 0.0, 1.0, 1.0] * 200, [0.0] * 800)
    assert rate_of(found) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_one_outcome_for_all_is_the_rate(value: float) -> None:
    controlled = length_controlled(comparisons([value] * 3, [3, -4, 5]), np.zeros(3), 0.95)
    assert (controlled.rate, controlled.low, controlled.high) == (value, value, value)


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        ([1, -3, 2, 4], FEW_PROMPTS),
        ([5, 5, 5, 5, 5, 5], ONE_SIDED),
        ([1, 3, 2, 6, 1, 9], ONE_SIDED),
        ([4, 3, -2, 5, -1, -8], SEPARATED),
        ([-4, -3, 2, -5, 1, 8], SEPARATED),
        ([5, 0, 0, 3, 0, -5], SEPARATED),
    ],
    ids=["few", "constant", "always longer", "separated", "reversed", "meeting at 0"],
)
def test_it_says_nothing_where_the_data_cannot_tell(differences: list[float], reason: str) -> None:
    preferences = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0][: len(differences)]
    controlled = length_controlled(comparisons(preferences, differences), np.zeros(len(differences)), 0.95)
    assert controlled.rate is controlled.low is controlled.high is None
    assert controlled.unknown == reason


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(-40, 40)), min_size=1, max_size=30))
def test_it_is_a_rate_within_its_interval_or_a_reason(rows: list[tuple[float, int]]) -> None:
    found = comparisons([preference for preference, _ in rows], [float(length) for _, length in rows])
    controlled = length_controlled(found, np.zeros(len(rows)), 0.95)
    if controlled.rate is None:
        assert controlled.unknown is not None
    else:
        assert controlled.low is not None
        assert controlled.high is not None
        assert 0 <= controlled.low <= controlled.rate <= controlled.high <= 1
