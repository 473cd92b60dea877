"""Results against reference answers: by the value, not by the text; hostile text costs its own reward and no more."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.errors import UserError
from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable import grading
from rlhf.rewards.verifiable.grading import TOO_MUCH, Grade, within_limits
from rlhf.rewards.verifiable.mathematics import grade_result

RIGHT, WRONG, NO_RESULT = Grade(1.0, "correct"), Grade(0.0, "wrong"), Grade(0.0, "no_result")
GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 clips altogether.\n#### 72"


def conversation(answer: Any, response: str) -> Conversation:
    return Conversation((("user", "Solve it."),), response, "stop", json.dumps({"answer": answer}))


@pytest.mark.parametrize(
    ("answer", "response", "grade"),
    [
        ("4", "2 plus 2 is 4.", RIGHT),
        ("4", "The answer is 4.", RIGHT),
        (4, r"So it is \boxed{4}", RIGHT),
        (0.5, r"$\frac{2}{4}$", RIGHT),
        ("4", "2 plus 2 is 5.", WRONG),
        ("4", "It is 4, no, it is 5.", WRONG),
        ("4", r"\boxed{5} because 2 + 2 = 4", WRONG),
        ("4", "I do not know.", NO_RESULT),
        ("4", "", NO_RESULT),
        (r"\frac{1}{2}", "It is 0.5", RIGHT),
        (r"$\frac{\sqrt{3}}{3}$", r"Hence $x = \frac{1}{\sqrt{3}}$.", RIGHT),
        (r"We get \boxed{12}.", r"\boxed{12}", RIGHT),
        (GSM8K, "She sold 24 in May, 72 in all.", RIGHT),
        (GSM8K, "She sold 24.", WRONG),
        ("1,200", r"\boxed{1200}", RIGHT),
        ("x^2 + 2x + 1", r"\boxed{(x+1)^2}", RIGHT),
        ("(1, 2]", r"$(1, 2]$", RIGHT),
        ("(1, 2]", r"$[1, 2]$", WRONG),
        ([3, "7"], r"\boxed{7}", RIGHT),
        ([3, "7"], r"\boxed{5}", WRONG),
        (None, "4", Grade(None, "no_reference")),
        ("  ", "4", Grade(None, "no_reference")),
        ([], "4", Grade(None, "no_reference")),
        (r"\boxed{}", "4", Grade(None, "unreadable_reference")),
    ],
)
def test_results(answer: Any, response: str, grade: Grade) -> None:
    assert grade_result("answer", conversation(answer, response)) == grade


@settings(max_examples=60, deadline=None)
@given(st.fractions(-50, 50, max_denominator=12), st.fractions(-50, 50, max_denominator=12), st.integers(1, 9))
def test_fractions_are_right_if_and_only_if_they_are_equal(asked: Fraction, said: Fraction, factor: int) -> None:
    response = rf"Therefore $\boxed{{\frac{{{factor * said.numerator}}}{{{factor * said.denominator}}}}}$."
    expected = RIGHT if asked == said else WRONG
    assert grade_result("answer", conversation(str(asked), response)) == expected


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{9^{9^{9^{9}}}}",
        r"\boxed{((10!)!)!}",
        r"\boxed{" + r"\frac{1}{" * 2000 + "2" + "}" * 2001,
        r"\boxed{" + "(" * 5000 + "1" + ")" * 5000 + "}",
        r"\boxed{\binom{1000000000}{500000000}}",
        "9**9**9**9",
        "$" * 20_000,
        r"\boxed{" * 5000,
        "The answer is __import__('os').abort()",
        r"\boxed{__import__('os').abort()}",
        "\0\ud7ff\n" * 1000,
    ],
    ids=lambda text: text[:20],
)
def test_hostile_text_is_wrong_and_ends(monkeypatch: pytest.MonkeyPatch, response: str) -> None:
    monkeypatch.setattr(grading, "SECONDS", 1.0)
    found = within_limits(lambda one: grade_result("answer", one), conversation("4", response))
    assert found in (WRONG, NO_RESULT, Grade(0.0, TOO_MUCH))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("{}", "the prompts keep no column 'answer', only none: name it in `prompts.keep`"),
        ('{"source":"a"}', "the prompts keep no column 'answer', only source: name it"),
        ('{"answer":{"value":4}}', r"the column 'answer' holds \{'value': 4\}, not a text or number"),
    ],
)
def test_a_column_that_is_not_kept_or_is_no_answer(kept: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        grade_result("answer", Conversation((("user", "Solve it."),), "4", "stop", kept))
