"""Verdicts: what counts as one, and the weights of log-probabilities."""

import math

import pytest

from rlhf.base.files.journal import Answer
from rlhf.rewards.judge.verdicts import preference, rating


def answer(content: str, *tokens: tuple[str, dict[str, float]]) -> Answer:
    return {
        "content": content,
        "tokens": [[token, [[name, math.log(chance)] for name, chance in top.items()]] for token, top in tokens],
    }


@pytest.mark.parametrize("content", ["A", " A\n", "**A**", "[[A]]", "'A'.", "Both are fine, but\nA", "I see.\n\n[[A]]"])
def test_a_verdict_is_all_there_is_on_the_last_line(content: str) -> None:
    assert preference(answer(content)) == 1.0


@pytest.mark.parametrize(
    "content",
    ["", "\n", "A or B", "a", "D", "Response A is better", "A\nBecause.", "It says [[A]].", "[[A]] [[B]]", "AB", "[A"],
)
def test_anything_else_is_none(content: str) -> None:
    assert preference(answer(content)) is None


def test_a_tie_is_one_half() -> None:
    assert preference(answer("C")) == 0.5
    assert preference(answer("B")) == 0.0


def test_log_probabilities_weigh_the_verdicts() -> None:
    top = {"A": 0.6, "B": 0.2, " C": 0.1, "The": 0.1}
    assert preference(answer("A", ("A", top))) == pytest.approx((0.6 + 0.05) / 0.9)


def test_spellings_of_a_verdict_are_added_up() -> None:
    assert preference(answer("A", (" A", {" A": 0.5, "A": 0.25, "B": 0.25}))) == pytest.approx(0.75)


def test_the_weights_are_those_of_the_verdicts_own_token() -> None:
    """A reasoning answer names both before it decides."""
    tokens = [("A", {"A": 1.0}), (" is", {" is": 1.0}), ("\n", {"\n": 1.0}), ("B", {"A": 0.25, "B": 0.75})]
    assert preference(answer("A is\nB", *tokens)) == pytest.approx(0.25)


def test_without_the_verdict_among_the_tokens_it_counts_in_full() -> None:
    assert preference(answer("A", ("[[A]]", {"[[A]]": 1.0}))) == 1.0


@pytest.mark.parametrize(
    ("content", "value"),
    [("7", 7.0), ("[[9]]", 9.0), ("1", 1.0), ("10", None), ("0", None), ("7.5", None), ("seven", None)],
)
def test_ratings(content: str, value: float | None) -> None:
    assert rating(answer(content), 9) == value


def test_a_rating_beyond_nine_where_it_is_allowed() -> None:
    assert rating(answer("[[10]]", ("1", {"1": 1.0}), ("0", {"0": 1.0})), 10) == 10.0


def test_ratings_are_weighted() -> None:
    assert rating(answer("7", ("7", {"7": 0.5, "8": 0.25, "1": 0.0625, "x": 0.1})), 9) == pytest.approx(
        (3.5 + 2.0 + 0.0625) / 0.8125
    )
