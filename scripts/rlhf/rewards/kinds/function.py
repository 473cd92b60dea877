"""The user's own reward function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class FunctionSettings(Scorer):
    """Your own Python function: a batch of records in, scores out. It may be an `async def`.

    A record has the keys `prompt` (messages: role and content), `response`, `finish_reason` (`stop` or `length`), and
    the columns in `prompts.keep`. A function of two arguments gets two lists of strings instead, the users' last turns
    and the responses.

    It returns one value per response: a finite number; None for no score; or
    `{"reward": 0.7, "objectives": {"correct": 1.0, "brief": 0.4}}` (or `(0.7, {...})`) with the same objectives in
    each, which are stored beside the reward.
    """

    kind: Literal["function"] = "function"
    """A Python function."""
    function: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
    """`module:function`, with the module in the working directory or in `scripts/`. It is called once per part."""

    @property
    def modules(self) -> tuple[str, ...]:
        return self.module, self.function.split(":")[0]

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.rewards.given.function_loading import load_function
        from rlhf.rewards.given.function_scoring import score_by_function

        found = score_by_function(load_function(self.function), conversations)
        job.progress.advance(len(conversations))
        return found
