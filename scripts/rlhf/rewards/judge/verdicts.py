"""The verdict in a judge's answer, and what it is worth.

A verdict counts only if it is all there is on the last line of the answer, so nothing that the judge quotes from a
response becomes one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from rlhf.base.files.journal import Answer

PREFERENCES = {"A": 1.0, "B": 0.0, "C": 0.5}
"""Verdict -> preference for response A."""
FRAME = " \t*_`.\"'"
"""What may stand around a verdict."""


def preference(answer: Answer) -> float | None:
    """How far the judge prefers response A, from 0 to 1; None if the answer holds no verdict.

    Weighted by the log-probabilities of the verdicts where the server gives them.
    """
    return _expected(answer, PREFERENCES)


def rating(answer: Answer, highest: int) -> float | None:
    """The rating, from 1 to `highest`; None if the answer holds none.

    Weighted by the log-probabilities of the ratings where the server gives them and a rating is a single digit.
    """
    return _expected(answer, {str(value): float(value) for value in range(1, highest + 1)})


def _expected(answer: Answer, values: Mapping[str, float]) -> float | None:
    """The expected value of the verdict."""
    verdict = _verdict(answer["content"])
    if verdict not in values:
        return None
    one_character = all(len(name) == 1 for name in values)
    for token, others in reversed(answer["tokens"]) if one_character else []:
        if token.strip(FRAME + "\n") == verdict:
            return _mean(others, values)
    return values[verdict]


def _mean(others: list[tuple[str, float]], values: Mapping[str, float]) -> float | None:
    weights: dict[str, float] = {}
    for token, logprob in others:
        name = token.strip()
        if name in values:
            weights[name] = weights.get(name, 0.0) + math.exp(logprob)
    total = sum(weights.values())
    return sum(weight * values[name] for name, weight in weights.items()) / total if total else None


def _verdict(content: str) -> str:
    """The last line, without what may frame a verdict: `**B**`, `[[B]]`."""
    lines = content.strip().splitlines()
    last = lines[-1].strip(FRAME) if lines else ""
    bracketed = re.fullmatch(r"\[\[(.*)\]\]", last)
    return bracketed[1].strip() if bracketed else last
