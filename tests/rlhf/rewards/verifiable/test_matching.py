"""Responses against reference answers, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.grading import Grade
from rlhf.rewards.verifiable.matching import grade_match

RIGHT, WRONG = Grade(1.0, "correct"), Grade(0.0, "wrong")


def grade(answer: Any, response: str, pattern: str | None = None, *, ignore_case: bool = True) -> Grade:
    kept = json.dumps({"label": answer})
    return grade_match("label", pattern, ignore_case, Conversation((("user", "p"),), response, "stop", kept))


@pytest.mark.parametrize(
    ("answer", "response", "expected"),
    [
        ("Paris", "paris", RIGHT),
        ("Paris", "  Paris\n", RIGHT),
        ("New York", "new\n york", RIGHT),
        ("Straße", "STRASSE", RIGHT),
        ("Paris", "Paris.", WRONG),
        ("Paris", "", WRONG),
        (["Paris", "City of Light"], "city of light", RIGHT),
        ([None, "B"], "b", RIGHT),
        (42, "42", RIGHT),
        (True, "true", RIGHT),
        (None, "Paris", Grade(None, "no_reference")),
        (["", None], "", Grade(None, "no_reference")),
    ],
)
def test_the_whole_response(answer: Any, response: str, expected: Grade) -> None:
    assert grade(answer, response) == expected


def test_upper_and_lower_case_can_differ() -> None:
    assert grade("Paris", "paris", ignore_case=False) == WRONG
    assert grade("Paris", " Paris", ignore_case=False) == RIGHT


@pytest.mark.parametrize(
    ("pattern", "response", "expected"),
    [
        (r"Answer: (\w)", "Answer: A. No. Answer: B", RIGHT),
        (r"Answer: (\w)", "Answer: B. No. Answer: A", WRONG),
        (r"Answer: (\w)", "It is B", Grade(0.0, "no_answer")),
        (r"\b[A-D]\b", "A or B", RIGHT),
        (r"<answer>(.*?)</answer>", "<answer>\nb\n</answer>", RIGHT),
        (r"(x)|Answer: \w", "Answer: B", Grade(0.0, "no_answer")),
    ],
)
def test_the_last_match_of_a_pattern(pattern: str, response: str, expected: Grade) -> None:
    assert grade("B", response, pattern) == expected
