"""A reward server that is asked over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from rlhf.base.settings import GivenText
from rlhf.rewards.scorer import Score, Scorer, ScoringJob


class HttpSettings(Scorer):
    """A server that scores: it gets `{"prompts": [...], "responses": [...]}` by POST, texts of equal number.

    It answers `{"scores": [...]}`, one finite number for each pair of texts, or null for a response that has no reward.
    Texts leave this machine for it, and for nothing else.
    """

    kind: Literal["http"] = "http"
    """A reward server."""
    url: str = Field(pattern=r"^https?://[^\s/]+\S*$")
    """Where it listens: `http://localhost:8000/score`."""
    token_variable: GivenText | None = None
    """Environment variable with a token that is sent along (`Authorization: Bearer ...`); null sends none."""

    def score(self, conversations: Sequence[tuple[str, str]], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.rewards.http_scoring import RewardServer, score_by_server

        return score_by_server(RewardServer(self.url, self.token_variable), conversations, job.progress), {}
