"""The scores of a user's function: called once, and checked."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chats import conversations
from rlhf.base.errors import UserError
from rlhf.rewards.given.function_loading import RewardFunction
from rlhf.rewards.given.function_scoring import score_by_function
from rlhf.rewards.scorer import Conversation, Score

TWO = conversations([("p", "x"), ("why", "so")])


def scores_of(function: Callable[..., Any], texts: list[Conversation] = TWO, **form: bool) -> list[Score]:
    return score_by_function(RewardFunction(function, form.get("takes_records", False)), texts)[0]


def returning(values: Any) -> Callable[..., Any]:
    return lambda *lists: values


def test_the_function_is_called_once_with_two_lists_in_order() -> None:
    calls: list[tuple[Any, Any]] = []

    def function(prompts: list[str], responses: list[str]) -> list[float]:
        calls.append((prompts, responses))
        return [0.5, -1.0, 2.0]

    scores = scores_of(function, conversations([("a", "x"), ("b", "y"), ("c", "z")]))
    assert calls == [(["a", "b", "c"], ["x", "y", "z"])]
    assert [score.value for score in scores] == [0.5, -1.0, 2.0]
    assert all(score.invalid is None and score.objectives is None for score in scores)


def test_records_hold_the_whole_prompt_and_the_kept_columns() -> None:
    calls: list[Any] = []

    def function(records: list[dict[str, Any]]) -> list[float]:
        calls.append(records)
        return [float(record["answer"] in record["response"]) for record in records]

    messages = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "1 + 1?"))
    texts = [
        Conversation(messages, "It is 2.", "stop", '{"answer":"2","cases":[1,{"a":null}]}'),
        Conversation(messages, "It is", "length", '{"answer":"2","cases":[]}'),
    ]
    assert [score.value for score in scores_of(function, texts, takes_records=True)] == [1.0, 0.0]
    turns = [{"role": role, "content": content} for role, content in messages]
    first = {"response": "It is 2.", "finish_reason": "stop", "answer": "2", "cases": [1, {"a": None}]}
    second = {"response": "It is", "finish_reason": "length", "answer": "2", "cases": []}
    assert calls == [[{"prompt": turns, **first}, {"prompt": turns, **second}]]


@pytest.mark.parametrize("takes_records", [True, False])
def test_a_coroutine_function_runs_to_its_end(takes_records: bool) -> None:
    async def one(number: float) -> float:
        await asyncio.sleep(0.01 / number)
        return number

    async def function(*lists: list[Any]) -> list[float]:
        assert len(lists) == 2 - takes_records
        return await asyncio.gather(one(1.0), one(2.0))

    assert scores_of(function, takes_records=takes_records) == [Score(1.0), Score(2.0)]


@pytest.mark.parametrize(
    "returned",
    [[1, 0], [True, False], (1.0, 0.0), np.array([1.0, 0.0]), np.array([1, 0], dtype=np.float32), np.array([1, 0])],
    ids=lambda value: f"{type(value).__name__}-{type(value[0]).__name__}",
)
def test_numbers_of_any_type(returned: Any) -> None:
    scores = scores_of(returning(returned))
    assert scores == [Score(1.0), Score(0.0)]
    assert all(type(score.value) is float for score in scores)


def test_none_is_no_score() -> None:
    assert scores_of(returning([0.5, None])) == [Score(0.5), Score(None, "no_reward")]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e39, 10**400, "0.5", [0.5], np.float32("nan")], ids=repr)
def test_a_score_that_is_not_finite_is_named_with_its_row(value: Any) -> None:
    with pytest.raises(
        UserError,
        match=r"for row 1, which is neither a finite float32 number nor None\..*Prompt: 'why'. Response: 'so'",
    ):
        scores_of(returning([0.5, value]))


def test_objectives_are_stored_under_the_names_of_the_first_score() -> None:
    returned = [
        {"reward": 0.7, "objectives": {"correct": 1.0, "brief": np.float32(0.5)}},
        (0.2, {"brief": 0, "correct": True}),
        {"reward": None, "objectives": {"correct": 0.0}},
        None,
    ]
    texts = conversations([("p", text) for text in "abcd"])
    scores, facts = score_by_function(RewardFunction(returning(returned), False), texts)
    none = Score(None, "no_reward")
    assert scores == [Score(0.7, None, [1.0, 0.5]), Score(0.2, None, [1.0, 0.0]), none, none]
    assert facts == {"objectives": ["correct", "brief"]}
    assert score_by_function(RewardFunction(returning([0.5, 0.5]), False), TWO)[1] == {}


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((1.0, {"a": 1.0}), (1.0, {"b": 1.0}), r"for row 1, whose objectives are not those .* before \(a\)"),
        ((1.0, {"a": 1.0}), 1.0, r"for row 1, whose objectives are not those of the scores before \(a\)"),
        (1.0, (1.0, {"a": 1.0}), r"for row 1, whose objectives are not those of the scores before \(none\)"),
        (1.0, {"score": 1.0}, r"for row 1, whose keys are not `reward` and `objectives`"),
        (1.0, {"reward": 1.0, "objective": {}}, r"for row 1, whose keys are not `reward` and `objectives`"),
        (1.0, (1.0, [1.0]), r"for row 1, whose objectives are no mapping of names to numbers"),
        (1.0, (1.0, {1: 1.0}), r"for row 1, whose objectives are no mapping of names to numbers"),
        ((1.0, {"a": math.inf}), 1.0, r"for row 0, whose objective 'a' is no finite float32 number"),
        ((1.0, {"a": None}), 1.0, r"for row 0, whose objective 'a' is no finite float32 number"),
        ((math.nan, {"a": 1.0}), 1.0, r"for row 0, which is neither a finite float32 number"),
    ],
)
def test_objectives_that_are_none_or_others_are_named_with_their_row(first: Any, second: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        scores_of(returning([first, second]))


@pytest.mark.parametrize(("returned", "message"), [([0.5], "1 scores for 2 responses"), (None, "returned None")])
def test_anything_but_a_list_of_as_many_scores_is_an_error(returned: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scores_of(returning(returned))


def test_no_responses() -> None:
    assert scores_of(returning([]), []) == []
