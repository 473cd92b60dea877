"""The user's own reward function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class FunctionSettings(Scorer):
    """Your own Python function: prompts and responses in, scores out."""

    kind: Literal["function"] = "function"
    """A Python function."""
    function: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
    """`module:function`, with the module in the working directory or in `scripts/`. It gets two lists of strings (the
    prompts, the responses) and returns a list of as many finite numbers; None means no score."""

    @property
    def modules(self) -> tuple[str, ...]:
        return self.module, self.function.split(":")[0]

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.rewards.function_loading import load_function
        from rlhf.rewards.function_scoring import score_by_function

        function = load_function(self.function)
        scores = score_by_function(function, [c.prompt for c in conversations], [c.response for c in conversations])
        job.progress.advance(len(scores))
        return scores, {}
