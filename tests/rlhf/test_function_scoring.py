"""The reward function of a user: found, called once, and its scores checked."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf.errors import UserError
from rlhf.function_scoring import Score, load_function, score_by_function


@pytest.fixture
def my_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_rewards.py").write_text(
        "NUMBER = 3\ndef words(prompts, responses):\n    return [len(text.split()) for text in responses]\n"
    )
    (tmp_path / "my_broken_rewards.py").write_text("import there_is_no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_rewards"
    for name in ("my_rewards", "my_broken_rewards"):
        sys.modules.pop(name, None)


def test_a_function_by_name(my_module: str) -> None:
    function = load_function(f"{my_module}:words")
    assert score_by_function(function, ["p", "p"], ["one two", ""]) == [Score(2.0), Score(0.0)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:words", "No module named 'no_such_module'.*importable from the working directory"),
        ("my_rewards:sentences", "my_rewards.py has no function 'sentences'"),
        ("my_rewards:NUMBER", "has no function 'NUMBER'"),
        ("my_broken_rewards:words", "No module named 'there_is_no_such_package'"),
    ],
)
def test_what_is_no_function(my_module: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_function(name)


def test_the_function_is_called_once_with_two_lists_in_order() -> None:
    calls: list[tuple[Any, Any]] = []

    def function(prompts: list[str], responses: list[str]) -> list[float]:
        calls.append((prompts, responses))
        return [0.5, -1.0, 2.0]

    scores = score_by_function(function, ("a", "b", "c"), ("x", "y", "z"))
    assert calls == [(["a", "b", "c"], ["x", "y", "z"])]
    assert [score.reward for score in scores] == [0.5, -1.0, 2.0]
    assert all(score.invalid is None and score.objectives is None for score in scores)


@pytest.mark.parametrize(
    "returned",
    [[1, 0], [True, False], (1.0, 0.0), np.array([1.0, 0.0]), np.array([1, 0], dtype=np.float32), np.array([1, 0])],
    ids=lambda value: f"{type(value).__name__}-{type(value[0]).__name__}",
)
def test_numbers_of_any_type(returned: Any) -> None:
    scores = score_by_function(lambda prompts, responses: returned, ["p", "p"], ["x", "y"])
    assert scores == [Score(1.0), Score(0.0)]
    assert all(type(score.reward) is float for score in scores)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.5", [0.5], np.float32("nan")], ids=repr)
def test_what_is_no_finite_number_is_named_with_its_row(value: Any) -> None:
    with pytest.raises(UserError, match=r"for row 1, which is no finite number. Prompt: 'why'. Response: 'so'"):
        score_by_function(lambda prompts, responses: [0.5, value], ["p", "why"], ["x", "so"])


@pytest.mark.parametrize(("returned", "message"), [([0.5], "1 scores for 2 responses"), (None, "returned None")])
def test_what_is_no_list_of_as_many_scores(returned: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        score_by_function(lambda prompts, responses: returned, ["p", "p"], ["x", "y"])


def test_no_responses() -> None:
    assert score_by_function(lambda prompts, responses: [], [], []) == []
