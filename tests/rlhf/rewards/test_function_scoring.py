"""The scores of a user's function: called once, and checked."""

import math
from typing import Any

import numpy as np
import pytest

from rlhf.base.errors import UserError
from rlhf.rewards.function_scoring import score_by_function
from rlhf.rewards.scorer import Score


def test_the_function_is_called_once_with_two_lists_in_order() -> None:
    calls: list[tuple[Any, Any]] = []

    def function(prompts: list[str], responses: list[str]) -> list[float]:
        calls.append((prompts, responses))
        return [0.5, -1.0, 2.0]

    scores = score_by_function(function, ("a", "b", "c"), ("x", "y", "z"))
    assert calls == [(["a", "b", "c"], ["x", "y", "z"])]
    assert [score.value for score in scores] == [0.5, -1.0, 2.0]
    assert all(score.invalid is None and score.objectives is None for score in scores)


@pytest.mark.parametrize(
    "returned",
    [[1, 0], [True, False], (1.0, 0.0), np.array([1.0, 0.0]), np.array([1, 0], dtype=np.float32), np.array([1, 0])],
    ids=lambda value: f"{type(value).__name__}-{type(value[0]).__name__}",
)
def test_numbers_of_any_type(returned: Any) -> None:
    scores = score_by_function(lambda prompts, responses: returned, ["p", "p"], ["x", "y"])
    assert scores == [Score(1.0), Score(0.0)]
    assert all(type(score.value) is float for score in scores)


def test_none_is_no_score() -> None:
    scores = score_by_function(lambda prompts, responses: [0.5, None], ["p", "p"], ["x", "y"])
    assert scores == [Score(0.5), Score(None, "no_reward")]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e39, "0.5", [0.5], np.float32("nan")], ids=repr)
def test_a_score_that_is_not_finite_is_named_with_its_row(value: Any) -> None:
    with pytest.raises(
        UserError, match=r"for row 1, which is neither a finite float32 number nor None .*Prompt: 'why'. Response: 'so'"
    ):
        score_by_function(lambda prompts, responses: [0.5, value], ["p", "why"], ["x", "so"])


@pytest.mark.parametrize(("returned", "message"), [([0.5], "1 scores for 2 responses"), (None, "returned None")])
def test_anything_but_a_list_of_as_many_scores_is_an_error(returned: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        score_by_function(lambda prompts, responses: returned, ["p", "p"], ["x", "y"])


def test_no_responses() -> None:
    assert score_by_function(lambda prompts, responses: [], [], []) == []
