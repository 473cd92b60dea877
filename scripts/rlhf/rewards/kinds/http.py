"""A reward server, used over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rlhf.base.settings import GivenText, ServerUrl
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob


class HttpSettings(Scorer):
    """A reward server: receives `{"prompts": [...], "responses": [...], "records": [...]}` by POST, lists of the same
    length.

    Prompts are the users' last turns; a record has the keys `prompt` (messages: role and content), `response`,
    `finish_reason`, and the columns in `prompts.keep`. The server answers `{"scores": [...]}`, one finite number per
    response; null means no score. Beside them it may give `"objectives": [{"correct": 1.0, "brief": 0.4}, ...]`, with
    the same names for each response (or null where there is no score); they are stored beside the rewards. What is
    sent goes to this server and nowhere else.
    """

    kind: Literal["http"] = "http"
    """A reward server."""
    url: ServerUrl
    """URL of the server, for example `http://localhost:8000/score`."""
    token_variable: GivenText | None = None
    """Environment variable that holds the token to send (`Authorization: Bearer ...`); null sends none."""

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.rewards.given.http_scoring import RewardServer, score_by_server

        return score_by_server(RewardServer(self.url, self.token_variable), conversations, job.progress)
