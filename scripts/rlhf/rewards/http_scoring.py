"""Scoring by a server of the user's: requests of some responses each, again where it has no answer yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from rlhf.base.artifacts import is_finite_float32
from rlhf.base.errors import UserError
from rlhf.machine.progress import Progress
from rlhf.rewards.schema import NO_REWARD
from rlhf.rewards.scorer import Score

Conversation = tuple[str, str]
"""A prompt and a response."""
PER_REQUEST = 64
SECONDS = 600
"""That a server may take for one answer."""
RETRIES = 6
"""Further tries, after 0, 2, 4, 8, 16, 32 times `PAUSE`; a server may say by Retry-After that it wants more time."""
PAUSE = 1.0
BUSY = (429, 500, 502, 503, 504)
"""Answers after which the same request may have another one."""
SHOWN_CHARACTERS = 200


class RewardServer:
    """A server at a URL. Connections are kept; no proxy, password file or redirection changes where texts go.

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
            token = os.environ.get(token_variable)
            if not token:
                raise UserError(f"the environment variable {token_variable} (`token_variable`) is not set")
            self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, conversations: Sequence[Conversation]) -> list[object]:
        """What it answers to some conversations, one value for each; not looked at.

        Raises:
            UserError: there is no answer, or it is no list of this length.
        """
        prompts, responses = map(list, zip(*conversations, strict=True))
        try:
            answer = self._session.post(
                self.url, json={"prompts": prompts, "responses": responses}, timeout=SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise UserError(
                f"the reward server {self.url} does not answer after {RETRIES + 1} tries: {error}. Start it, or mend "
                "`url`; what was scored of other parts is kept."
            ) from error
        if answer.status_code != requests.codes.ok:
            raise UserError(
                f"the reward server {self.url} answers {answer.status_code} {answer.reason}: {_shown(answer.text)}"
            )
        scores = _scores_of(answer)
        if not isinstance(scores, list):
            raise UserError(
                f"the reward server {self.url} answers {_shown(answer.text)}, and not JSON of the form "
                '{"scores": [...]}'
            )
        if len(scores) != len(conversations):
            raise UserError(
                f"the reward server {self.url} gave {len(scores)} scores for {len(conversations)} responses"
            )
        return scores


def score_by_server(server: RewardServer, conversations: Iterable[Conversation], progress: Progress) -> list[Score]:
    """Score (prompt, response) texts. Equal ones are asked for once: their scores are equal.

    Returns:
        In the order of the conversations.

    Raises:
        UserError: as `RewardServer.ask`, or a score is no finite float32 number; with its texts.
    """
    conversations = list(conversations)
    found: dict[Conversation, Score] = {}
    distinct = list(dict.fromkeys(conversations))
    for start in range(0, len(distinct), PER_REQUEST):
        batch = distinct[start : start + PER_REQUEST]
        for conversation, value in zip(batch, server.ask(batch), strict=True):
            found[conversation] = _score(server.url, conversation, value)
        progress.advance(len(batch))
    return [found[conversation] for conversation in conversations]


def _score(url: str, conversation: Conversation, value: object) -> Score:
    if value is None:
        return Score(None, NO_REWARD)
    if is_finite_float32(value):
        return Score(float(value))
    prompt, response = (text[:SHOWN_CHARACTERS] for text in conversation)
    raise UserError(
        f"the reward server {url} gave {value!r:.40}, which is no finite number (float32), and not null for no reward. "
        f"Prompt: {prompt!r}. Response: {response!r}"
    )


def _scores_of(answer: requests.Response) -> Any:
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    return body.get("scores") if isinstance(body, dict) else None


def _shown(text: str) -> str:
    return repr(text[:SHOWN_CHARACTERS])
