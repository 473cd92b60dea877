"""Which policies are significantly better than which."""

import numpy as np

from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.paired.ranking import ranking

PROMPTS = np.array([f"p{prompt:03d}" for prompt in range(60)])


def policy(rate: float, seed: int, longer: float = 0.0) -> Comparisons:
    random = np.random.default_rng(seed)
    return Comparisons(PROMPTS, (random.uniform(size=60) < rate).astype(float), random.normal(longer, 10, 60))


def test_only_what_stands_out_is_better() -> None:
    found = ranking({"good": policy(0.95, 1), "fair": policy(0.55, 2), "poor": policy(0.05, 3)}, 0.95)
    assert found is not None
    assert found.prompts == 60
    assert found.better_than == {"base": 1, "good": 3, "fair": 1, "poor": 0}


def test_the_luckiest_of_many_equal_policies_is_not_better() -> None:
    """In 100 experiments with twelve equal policies, at most 5 % and what chance allows say that any one is better."""
    wrong = 0
    for experiment in range(100):
        compared = {f"p{number}": policy(0.5, 1000 * experiment + number) for number in range(12)}
        found = ranking(compared, 0.95)
        assert found is not None
        wrong += any(found.better_than.values())
    assert wrong <= 9


def test_prompts_that_one_lacks_are_left_out_and_none_in_common_compares_nothing() -> None:
    whole, few = policy(0.9, 1), Comparisons(PROMPTS[:7], np.ones(7), np.zeros(7))
    found = ranking({"a": whole, "b": few}, 0.95)
    assert found is not None
    assert found.prompts == 7
    assert ranking({"a": whole, "b": Comparisons(np.array(["other"]), np.ones(1), np.zeros(1))}, 0.95) is None
