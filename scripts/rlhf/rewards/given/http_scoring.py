"""Scoring with the user's reward server: batched requests, with retries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from rlhf.base.artifacts import is_finite_float32
from rlhf.base.errors import UserError
from rlhf.base.settings import key_of_server
from rlhf.machine.progress import Progress
from rlhf.rewards.given.values import OBJECTIVES, SHOWN_CHARACTERS, ScoreReader
from rlhf.rewards.scorer import Conversation, Score

PER_REQUEST = 64
"""Conversations per request."""
SECONDS = 600
"""Timeout of a request."""
RETRIES = 6
"""Retries, after 0, 2, 4, 8, 16, 32 times `PAUSE`, or after what the server's Retry-After says."""
PAUSE = 1.0
"""Seconds."""
BUSY = (429, 500, 502, 503, 504)
"""Status codes after which a request is retried."""


class RewardServer:
    """A reward server. Connections are reused; proxies, .netrc and redirects are ignored, so texts go nowhere else.

    Raises:
        UserError: the environment variable of the token is not set.
    """

    def __init__(self, url: str, token_variable: str | None = None) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        retry = Retry(RETRIES, allowed_methods=None, status_forcelist=BUSY, backoff_factor=PAUSE, raise_on_status=False)
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, HTTPAdapter(max_retries=retry))
        if token_variable is not None:
            self._session.headers["Authorization"] = f"Bearer {key_of_server(token_variable, 'token_variable')}"

    def ask(self, conversations: Sequence[Conversation]) -> list[object]:
        """Request scores: one value per conversation, a number alone or with its objectives; not validated.

        Raises:
            UserError: there is no answer, or it has not that many scores.
        """
        body: Any = {
            "prompts": [one.prompt for one in conversations],
            "responses": [one.response for one in conversations],
            "records": [one.record for one in conversations],
        }
        try:
            answer = self._session.post(self.url, json=body, timeout=SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise UserError(
                f"the reward server {self.url} did not answer after {RETRIES + 1} attempts: {error}. Start it, or fix "
                "`url`; parts that are scored already are kept."
            ) from error
        if answer.status_code != requests.codes.ok:
            raise UserError(
                f"the reward server {self.url} answered {answer.status_code} {answer.reason}: {_shown(answer.text)}"
            )
        found = _body_of(answer)
        scores, objectives = found.get("scores"), found.get(OBJECTIVES)
        if not isinstance(scores, list) or not isinstance(objectives, list | None):
            raise UserError(
                f"the reward server {self.url} answered {_shown(answer.text)}, not JSON of the form "
                '{"scores": [...]} or {"scores": [...], "objectives": [...]}'
            )
        for name, values in (("scores", scores), (OBJECTIVES, objectives)):
            if values is not None and len(values) != len(conversations):
                raise UserError(
                    f"the reward server {self.url} returned {len(values)} {name} for {len(conversations)} responses"
                )
        return scores if objectives is None else list(zip(scores, objectives, strict=True))


def score_by_server(
    server: RewardServer, conversations: Iterable[Conversation], progress: Progress
) -> tuple[list[Score], dict[str, Any]]:
    """Score conversations. Equal ones are requested once, so their scores are equal.

    Returns:
        One score per conversation, in order, and the names of their objectives as a fact if there are any.

    Raises:
        UserError: as `RewardServer.ask`, or a score is one that `ScoreReader` refuses; shows its texts.
    """
    conversations = list(conversations)
    reader = ScoreReader(f"the reward server {server.url}", is_finite_float32, "null")
    found: dict[Conversation, Score] = {}
    distinct = list(dict.fromkeys(conversations))
    for start in range(0, len(distinct), PER_REQUEST):
        batch = distinct[start : start + PER_REQUEST]
        for conversation, value in zip(batch, server.ask(batch), strict=True):
            found[conversation] = reader.read(value, conversation)
        progress.advance(len(batch))
    return [found[conversation] for conversation in conversations], reader.facts


def _body_of(answer: requests.Response) -> dict[str, Any]:
    """The answer's JSON object; empty if it is none."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _shown(text: str) -> str:
    return repr(text[:SHOWN_CHARACTERS])
