"""The responses of imported pairs: what a cell of a dataset says, as text and as token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rlhf.datasets.conversations import KEYS, Messages, NoPromptError, Turns, read_example
from rlhf.datasets.stored_ids import are_ids_of
from rlhf.tokens.chat import encode_response
from rlhf.tokens.templates import render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.responses.thoughts import Thoughts


OTHER_PROMPT, MISSING = "other_prompt", "missing"


class NoResponseError(Exception):
    """A cell has no response to its prompt. The message is the reason by which it is counted."""


def read_response(value: object, prompt: Messages, turns: Turns) -> str:
    """The response in a cell: a text, the assistant's turn alone, or a conversation that ends with it.

    Args:
        prompt: the prompt of its row. A conversation must have it before the response; system prompts may differ.

    Raises:
        NoResponseError: `missing` for a response that is null or white space, or a conversation that ends with the
            user; `other_prompt` if it is a response to another prompt.
        TypeError: the value is something else.
    """
    if value is None:
        raise NoResponseError(MISSING)
    if isinstance(value, str):
        return _given(value)
    if not isinstance(value, list) or not value:
        raise TypeError("text or a list of turns")
    role, content = KEYS[turns]
    if isinstance(value[-1], Mapping) and value[-1].get(content, "") is None:
        raise NoResponseError(MISSING)
    before = [{role: "user", content: "?"}] if len(value) == 1 else []
    try:
        found = read_example([*before, *value], turns)
    except NoPromptError as error:
        raise TypeError("a conversation that ends with the assistant's turn") from error
    if not before and _without_system(found.messages) != _without_system(prompt):
        raise NoResponseError(OTHER_PROMPT)
    return _given(found.answer or "")


def _given(text: str) -> str:
    if not text.strip():
        raise NoResponseError(MISSING)
    return text


def _without_system(messages: Messages) -> Messages:
    return tuple(turn for turn in messages if turn[0] != "system")


@dataclass(frozen=True, eq=False)
class Encoded:
    """A response in the tokens of the policy."""

    text: str
    """What of it is visible."""
    token_ids: np.ndarray
    """int32 (tokens,), end-of-turn token included."""
    encoded_again: bool = False
    """Whether it had token ids of another run that are not of this tokenizer."""
    unfinished: bool = False
    """Whether it ends in the middle of a thought."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Turns the text of responses into token ids of the policy's tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    thoughts: Thoughts | None = None
    """What hides the thoughts in responses, if some are hidden."""

    def encode(self, text: str, prompt_ids: Sequence[int]) -> Encoded:
        """A complete response to a prompt, without the outer white space that the chat template strips."""
        text = self.as_rendered(text)
        if self.thoughts is None:
            return Encoded(text, np.array(encode_response(self.tokenizer, text), np.int32))
        ids = self.thoughts.encode(prompt_ids, text)
        visible = self.thoughts.visible(ids, self.thoughts.decode(ids), opened=self.thoughts.is_opened(prompt_ids))
        return Encoded(visible.text, np.array(ids, np.int32), unfinished=visible.unfinished)

    def stored(self, token_ids: Sequence[int], text: str, prompt_ids: Sequence[int]) -> Encoded:
        """A response that another run sampled: its tokens, exactly, if they are of this tokenizer.

        Args:
            text: what that run decoded them to, without hidden thoughts.
        """
        if are_ids_of(self.tokenizer, token_ids, text) or (
            self.thoughts is not None and self.thoughts.are_ids_of(token_ids, text, prompt_ids)
        ):
            return Encoded(text, np.array(token_ids, np.int32))
        return replace(self.encode(text, prompt_ids), encoded_again=True)

    @cached_property
    def as_rendered(self) -> Callable[[str], str]:
        """What the chat template makes of a response's outer white space: many templates strip it."""
        word, padded = "qxyx", "\n qxyx \n"
        rendered = render(self.tokenizer, [("user", "q"), ("assistant", padded)])
        strips = padded not in rendered and word in rendered
        return str.strip if strips else str
