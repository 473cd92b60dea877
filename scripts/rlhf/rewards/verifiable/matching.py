"""Whether a response is the reference answer, word for word."""

from __future__ import annotations

import re

from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.grading import Grade
from rlhf.rewards.verifiable.references import NO_REFERENCE, references


def grade_match(column: str, pattern: str | None, ignore_case: bool, conversation: Conversation) -> Grade:
    """1 if the response's answer is a reference answer, else 0. White space at the ends, and its kind, do not count.

    Args:
        column: the kept column with the reference answer, or a list of which any counts.
        pattern: regular expression whose last match is the answer (its first group, if it has one); None takes all.
    """
    answers = references(conversation, column)
    if not answers:
        return Grade(None, NO_REFERENCE)
    found = conversation.response if pattern is None else last_match(pattern, conversation.response)
    if found is None:
        return Grade(0.0, "no_answer")
    is_right = _plain(found, ignore_case) in [_plain(answer, ignore_case) for answer in answers]
    return Grade(float(is_right), "correct" if is_right else "wrong")


def last_match(pattern: str, text: str) -> str | None:
    """The last match of a regular expression: its first group, if it has one. None if it matches nowhere."""
    matches = list(re.finditer(pattern, text, re.DOTALL))
    return matches[-1][1 if matches[-1].re.groups else 0] if matches else None


def _plain(text: str, ignore_case: bool) -> str:
    text = " ".join(text.split())
    return text.casefold() if ignore_case else text
