"""Constraints on the form of a response, checked by rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rlhf.base.settings import GivenText
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class IfevalSettings(Scorer):
    """The constraints that a prompt sets, such as at least 300 words, no comma, or an answer in French.

    They are IFEval's, and so is the form of the columns, which `prompts.keep` must name: a list of identifiers, and a
    list with the arguments of each (as in google/IFEval; lists may be written as JSON). A prompt without constraints,
    or with one that has no check, gives no reward, and is counted. Constraints on sentences and on words in capitals
    need nltk's data `punkt_tab` in NLTK_DATA. It needs no GPU: set `hardware.score_responses: {gpu: 0}`.
    """

    kind: Literal["ifeval"] = "ifeval"
    """Constraints on the form of a response."""
    instructions: GivenText = "instruction_id_list"
    """Column with the identifiers of the constraints."""
    arguments: GivenText = "kwargs"
    """Column with the arguments of each constraint."""
    reading: Literal["strict", "loose"] = "strict"
    """`loose` tries a response without its first line, its last line and its asterisks, too."""
    credit: Literal["share", "all"] = "share"
    """The reward: the share of the constraints that are kept, or 1 for all of them and else 0."""

    @property
    def kept_columns(self) -> Mapping[str, str]:
        return {"instructions": self.instructions, "arguments": self.arguments}

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from functools import partial

        from rlhf.rewards.verifiable.constraints import grade_constraints
        from rlhf.rewards.verifiable.grading import grade

        grader = partial(grade_constraints, self.instructions, self.arguments, self.reading, self.credit)
        return grade(grader, conversations, job, ["if-verifiable", "langdetect", "nltk"])
