"""Answers that are compared with reference answers, word for word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import field_validator

from rlhf.base.settings import GivenText
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class ExactMatchSettings(Scorer):
    """The reference answer, word for word: 1 if the response has it, else 0.

    White space at the ends, and its kind, do not count. A prompt without a reference answer gives no reward. It needs
    no GPU: set `hardware.score_responses: {gpu: 0}`.
    """

    kind: Literal["exact_match"] = "exact_match"
    """A reference answer, word for word."""
    answer: GivenText
    """Column with the reference answer, which `prompts.keep` names too: a text or number. Of a list, any answer
    counts."""
    pattern: GivenText | None = None
    """Regular expression (Python's) that finds the answer in a response: its last match counts, or that match's first
    group if it has one, as in `Answer: (\\w+)`. A response without a match is wrong. Null compares all of it."""
    ignore_case: bool = True
    """Whether upper and lower case are the same."""

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern

    @property
    def kept_columns(self) -> Mapping[str, str]:
        return {"answer": self.answer}

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from functools import partial

        from rlhf.rewards.verifiable.grading import grade
        from rlhf.rewards.verifiable.matching import grade_match

        grader = partial(grade_match, self.answer, self.pattern, self.ignore_case)
        return grade(grader, conversations, job)
