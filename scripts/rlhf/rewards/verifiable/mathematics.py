"""Whether a response ends in the right mathematical result, by math-verify."""

from __future__ import annotations

import logging
from typing import Any

from math_verify import parse, verify

from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.grading import Grade
from rlhf.rewards.verifiable.references import NO_REFERENCE, references

FINAL = "####"
"""Stands before the result in solutions of GSM8K (Cobbe et al., 2110.14168)."""
DELIMITERS = ("$", r"\(", r"\[", r"\boxed", r"\begin")
# It warns that its own time limits are off, which `within_limits` replaces: one limit for the whole response.
logging.getLogger("math_verify").setLevel(logging.ERROR)


def grade_result(column: str, conversation: Conversation) -> Grade:
    """1 if the response's result equals that of a reference answer, else 0.

    Args:
        column: the kept column with the reference answer, or a list of which any counts.
    """
    answers = references(conversation, column)
    if not answers:
        return Grade(None, NO_REFERENCE)
    golds = [gold for answer in answers if (gold := parsed_reference(answer))]
    if not golds:
        return Grade(None, "unreadable_reference")
    found = parse(conversation.response, parsing_timeout=None)
    if not found:
        return Grade(0.0, "no_result")
    is_right = any(verify(gold, found, timeout_seconds=None) for gold in golds)
    return Grade(float(is_right), "correct" if is_right else "wrong")


def parsed_reference(answer: str) -> list[Any]:
    """The result in a reference answer, as math-verify has it: a SymPy expression, and its text. Empty if it has none.

    Args:
        answer: a number or LaTeX, or a solution that ends with a result: in a box or between dollars, or behind `####`.
    """
    result = answer.rpartition(FINAL)[2].strip()
    if not any(delimiter in result for delimiter in DELIMITERS):
        result = rf"\boxed{{{result}}}"
    found: list[Any] = parse(result, parsing_timeout=None)
    return found
