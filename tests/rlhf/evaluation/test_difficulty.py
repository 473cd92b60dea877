"""The difficulty of prompts, from the preferences of other policies."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.difficulty import prompt_difficulty

PROMPTS = np.array([f"p{number:03}" for number in range(200)])


def policy(preferences: NDArray[np.float64], prompts: NDArray[np.str_] = PROMPTS) -> Comparisons:
    return Comparisons(prompts, preferences, np.zeros(len(preferences)))


def test_it_is_what_the_policies_have_in_common() -> None:
    """Whatever their skill: a weak and a strong policy count the same."""
    chance = np.random.default_rng(0)
    truth = chance.normal(size=200)
    others = {
        f"policy-{skill}": policy(expit(skill + truth + chance.normal(0, 0.7, 200))) for skill in (-3, -1, 0, 1, 3)
    }
    found, policies = prompt_difficulty(PROMPTS, others.values())
    assert policies == 5
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def test_it_does_not_depend_on_the_order_of_policies() -> None:
    chance = np.random.default_rng(1)
    others = {f"policy-{number}": policy(chance.random(200)) for number in range(4)}
    backwards = dict(reversed(others.items()))
    assert prompt_difficulty(PROMPTS, others.values())[0] == pytest.approx(
        prompt_difficulty(PROMPTS, backwards.values())[0], abs=1e-12
    )


def test_several_comparisons_of_a_prompt_count_as_their_mean() -> None:
    once = policy(np.tile([0.2, 0.8, 0.5, 0.9], 50))
    prompts = np.repeat(PROMPTS, 2)
    twice = policy(np.clip(np.repeat(once.preferences, 2) + np.tile([0.05, -0.05], 200), 0, 1), prompts)
    assert prompt_difficulty(PROMPTS, [once])[0] == pytest.approx(prompt_difficulty(PROMPTS, [twice])[0])


def test_prompts_of_no_other_policy_are_of_mean_difficulty() -> None:
    """Prompts of other experiments that this one does not have are ignored."""
    half = np.concatenate([PROMPTS[:100], np.array(["zz1", "zz2"])])
    preferences = np.concatenate([np.tile([0.2, 0.8], 50), [0.0, 1.0]])
    found, policies = prompt_difficulty(PROMPTS, [policy(preferences, half)])
    assert policies == 1
    assert set(found[100:]) == {0.0}
    assert (found[1:100:2] > found[0:100:2]).all()


@pytest.mark.parametrize("others", [{}, {"equal": policy(np.full(200, 0.5))}], ids=["none", "all alike"])
def test_nothing_is_known_without_policies_that_tell_prompts_apart(others: dict[str, Comparisons]) -> None:
    found, policies = prompt_difficulty(PROMPTS, others.values())
    assert policies == 0
    assert not found.any()
