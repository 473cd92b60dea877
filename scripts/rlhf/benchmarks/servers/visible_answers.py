"""What the library of a benchmark, and with it the judge, sees of answers whose thoughts are hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.base.files.journal import Answer

if TYPE_CHECKING:
    from rlhf.responses.thoughts import Thoughts

WITH_TOKEN_IDS = {"return_token_ids": True}
"""Asks vLLM's server for the token ids of prompt and answer: a text lacks marks that are special tokens."""


def visible_answer(thoughts: Thoughts, answer: Answer) -> Answer:
    """A completion of vLLM's server without thoughts and token ids; its tokens are those that are visible."""
    opened = thoughts.is_opened(answer["prompt_token_ids"])
    choices, tokens = [], 0
    for choice in answer["choices"]:
        visible = thoughts.visible(choice["token_ids"], thoughts.decode(choice["token_ids"]), opened=opened)
        cut = {"finish_reason": "length"} if visible.unfinished else {}
        choices.append({**choice, **cut, "message": {**choice["message"], "content": visible.text}, "token_ids": None})
        tokens += visible.tokens
    prompt_tokens = len(answer["prompt_token_ids"])
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens}
    return {**answer, "choices": choices, "usage": usage, "prompt_token_ids": None}
