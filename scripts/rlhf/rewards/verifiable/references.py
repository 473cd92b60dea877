"""Kept columns of a prompt: reference answers, constraints."""

from __future__ import annotations

from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.settings import canonical_json
from rlhf.rewards.scorer import Conversation

NO_REFERENCE = "no_reference"
"""Outcome where the prompt has no reference answer."""


def kept_value(conversation: Conversation, column: str) -> Any:
    """The value of a kept column.

    Raises:
        UserError: the prompts keep no such column.
    """
    columns = conversation.columns
    if column not in columns:
        raise UserError(
            f"the prompts keep no column {column!r}, only {', '.join(columns) or 'none'}: name it in `prompts.keep`"
        )
    return columns[column]


def references(conversation: Conversation, column: str) -> list[str]:
    """The reference answers in a kept column, a text or number or a list of them; empty if there is none.

    Raises:
        UserError: the prompts keep no such column, or its value is something else.
    """
    value = kept_value(conversation, column)
    values = value if isinstance(value, list) else [value]
    for one in values:
        if one is not None and not isinstance(one, str | int | float):
            raise UserError(
                f"the column {column!r} holds {one!r:.80}, not a text or number or a list of them. Prompt: "
                f"{conversation.prompt[:80]!r}"
            )
    texts = [one if isinstance(one, str) else canonical_json(one) for one in values if one is not None]
    return [text for text in texts if text.strip()]
