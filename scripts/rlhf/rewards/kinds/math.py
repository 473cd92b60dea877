"""Results of mathematical problems, checked against reference answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rlhf.base.settings import GivenText
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class MathSettings(Scorer):
    """The result of a mathematical problem: 1 if the response's is equal to the reference answer's, else 0.

    math-verify finds the result in the response (in `\\boxed{}`, between dollars, or the last number) and compares the
    two as expressions: 1/2, 0.5 and \\frac{2}{4} are equal. No result is a wrong one, as is one that takes more than 5
    seconds to compare. A prompt without a reference answer gives no reward. It needs no GPU: set
    `hardware.score_responses: {gpu: 0, threads: 16}`, and 16 processes check responses.
    """

    kind: Literal["math"] = "math"
    """Mathematical results."""
    answer: GivenText
    """Column with the reference answer, which `prompts.keep` names too: a number or LaTeX, or a solution that ends with
    a result in `\\boxed{}`, between dollars, or behind `####`. Of a list, any answer counts."""

    @property
    def kept_columns(self) -> Mapping[str, str]:
        return {"answer": self.answer}

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from functools import partial

        from rlhf.rewards.verifiable.grading import grade
        from rlhf.rewards.verifiable.mathematics import grade_result

        return grade(partial(grade_result, self.answer), conversations, job, ["math-verify", "sympy"])
