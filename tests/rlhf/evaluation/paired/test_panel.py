"""Preferences at equal length, against an ordinary regression with a dummy variable for each policy and each prompt."""

import numpy as np
import pytest
import statsmodels.api as sm

from rlhf.base.errors import UserError
from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.paired.panel import Panel, at_equal_length, length_slope, panel


def random_panel(policies: int = 5, prompts: int = 40, slope: float = 0.3) -> Panel:
    random = np.random.default_rng(3)
    lengths = random.uniform(-1, 1, (policies, prompts)) + random.normal(0, 0.3, (policies, 1))
    means = random.normal(0, 0.1, (policies, 1)) + random.normal(0, 0.2, prompts)
    return Panel(0.5 + means + slope * lengths + random.normal(0, 0.1, lengths.shape), lengths)


def test_the_slope_is_that_of_a_regression_with_dummies() -> None:
    found = random_panel()
    policies, prompts = found.preferences.shape
    policy, prompt = np.indices((policies, prompts)).reshape(2, -1)
    design = np.column_stack(
        [found.lengths.ravel(), np.eye(policies)[policy], np.eye(prompts)[prompt][:, 1:]],
    )
    fitted = sm.OLS(found.preferences.ravel(), design).fit()
    clustered = fitted.get_robustcov_results("cluster", groups=prompt, use_correction=False, df_correction=False)
    slope = length_slope(found)
    assert slope.value == pytest.approx(fitted.params[0], rel=1e-9)
    assert slope.variance == pytest.approx(clustered.bse[0] ** 2, rel=1e-9)
    assert slope.value == pytest.approx(0.3, abs=0.05)


def test_policies_that_are_longer_by_themselves_tell_nothing_about_length() -> None:
    lengths = np.repeat([[0.2], [0.6]], 30, axis=1)
    found = Panel(0.5 + lengths, lengths)
    slope = length_slope(found)
    assert (slope.value, slope.variance) == (0, 0)
    np.testing.assert_array_equal(at_equal_length(found, slope), found.preferences)


def test_prompts_are_aligned_and_draws_averaged() -> None:
    one = Comparisons(np.array(["a", "b", "b", "c"]), np.array([1.0, 0.0, 1.0, 0.25]), np.array([4.0, -4.0, 4.0, 0.0]))
    other = Comparisons(np.array(["b", "c", "d"]), np.array([0.75, 0.5, 0.0]), np.array([0.0, 4.0, 9.0]))
    found = panel([one, other])
    np.testing.assert_allclose(found.preferences, [[0.5, 0.25], [0.75, 0.5]])
    scale = np.array([4.0, -4, 4, 0, 0, 4, 9]).std()
    np.testing.assert_allclose(found.lengths, [[0.0, 0.0], [0.0, np.tanh(4 / scale)]])


def test_no_prompt_in_common_is_an_error() -> None:
    one, other = (Comparisons(np.array([name]), np.array([1.0]), np.array([0.0])) for name in "ab")
    with pytest.raises(UserError, match="no prompt in common"):
        panel([one, other])
