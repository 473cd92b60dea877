"""What a column of prompts holds: text, or conversations, whose prompt is everything up to the last user turn."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Message = tuple[str, str]
"""Role and content."""
Messages = tuple[Message, ...]
"""A conversation."""
Turns = Literal["role_content", "from_value"]
"""The names of the keys of a turn."""
KEYS: dict[Turns, tuple[str, str]] = {"role_content": ("role", "content"), "from_value": ("from", "value")}
"""The keys of a turn: its role, and its text."""
ROLES = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
}
"""The role of a turn by its name in datasets; the last four are ShareGPT's."""


class NoPromptError(Exception):
    """A value is no prompt. The message is the reason by which it is counted."""


class Example(NamedTuple):
    """A value of the column of prompts."""

    messages: Messages
    """The prompt: normalised turns, the user's last. A system prompt, if the row has one, comes first."""
    answer: str | None
    """The assistant's turn behind it, as it is; None if there is none."""

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1][1]


def read_example(value: object, turns: Turns) -> Example:
    """Read a value of the column: a text, which is a single user turn, or a list of turns.

    Raises:
        NoPromptError: `not_text` for anything else, or a turn that is not text; `empty` if the last user turn is;
            `not_a_chat` for an unknown role, or turns that are not a system prompt (or none) and then user and
            assistant in alternation.
    """
    if isinstance(value, str):
        return Example((("user", _given(normalise_prompt(value))),), None)
    if not isinstance(value, Sequence | Mapping) or isinstance(value, bytes | Mapping) or not value:
        raise NoPromptError("not_text")
    found = [_turn(turn, turns) for turn in value]
    _check_order([role for role, _ in found])
    last = max((place for place, (role, _) in enumerate(found) if role == "user"), default=-1)
    messages = tuple((role, normalise_prompt(text)) for role, text in found[: last + 1])
    if messages[0][0] == "system" and not messages[0][1]:
        messages = messages[1:]  # as if there were none: many datasets write an empty one into every row
    _given(messages[-1][1])
    return Example(messages, found[last + 1][1] if len(found) > last + 1 else None)


def as_turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    """The conversation as templates, datasets and servers take it: `role` and `content` of each turn."""
    return [{"role": role, "content": content} for role, content in messages]


def normalise_prompt(text: str) -> str:
    """Unicode NFC, LF line endings, no leading or trailing whitespace. Idempotent."""
    return unicodedata.normalize("NFC", re.sub(r"\r\n?", "\n", text)).strip()


def _given(text: str) -> str:
    if not text:
        raise NoPromptError("empty")
    return text


def _turn(turn: object, turns: Turns) -> tuple[str, str]:
    """Role and text of a turn."""
    role_key, text_key = KEYS[turns]
    if not isinstance(turn, Mapping):
        raise NoPromptError("not_text")
    role = ROLES.get(str(turn.get(role_key)))
    if role is None:
        raise NoPromptError("not_a_chat")
    return role, _text(turn.get(text_key))


def _text(content: object) -> str:
    """The text of a turn: a string, or a list of parts that are all text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise NoPromptError("not_text")


def _check_order(roles: list[str]) -> None:
    chat = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * len(chat)
    if not chat or chat != expected[: len(chat)]:
        raise NoPromptError("not_a_chat")
