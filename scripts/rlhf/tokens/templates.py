"""Chat templates as text: conversations rendered by a tokenizer's own template, and the template without contents."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.tokens.special_tokens import special_tokens, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = tuple[str, str]
"""Role and content."""
TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""Today's date for templates that print it, so that equal inputs give equal ids every day. Llama-3.1's own default."""


@dataclass(frozen=True)
class Scaffold:
    """A rendered template with a placeholder for each content."""

    text: str
    placeholders: list[str]
    special_ids: list[int]
    """The control tokens in it, in order."""
    missing_bos: list[int]
    """The beginning-of-sequence token, if the tokenizer puts it before plain text and the template leaves it out."""

    def fill(self, text: str, contents: Sequence[str]) -> str:
        """Replace the placeholders in `text`, all at once: a content may contain another one's placeholder."""
        by_placeholder = dict(zip(self.placeholders, contents, strict=True))
        return re.sub("|".join(map(re.escape, self.placeholders)), lambda match: by_placeholder[match.group()], text)


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The conversation as the template writes it; if the user has the last word, with the header of the answer.

    Raises:
        UserError: the template refuses the conversation.
    """
    from jinja2 import TemplateError

    conversation = [{"role": role, "content": content} for role, content in messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                conversation,
                add_generation_prompt=messages[-1][0] == "user",
                tokenize=False,
                strftime_now=TEMPLATE_DATE.strftime,
            )
        )
    except TemplateError as error:
        roles = [role for role, _ in messages]
        remedy = " Many templates have no system prompt: set `prompts.system` to null." if "system" in roles else ""
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {', '.join(roles)}: "
            f"{error}.{remedy}"
        ) from error


def scaffold_of(tokenizer: PreTrainedTokenizerBase, roles: tuple[str, ...]) -> Scaffold:
    """The tokenizer's template around placeholders, one for each role.

    Raises:
        UserError: the template leaves out a content, changes it, or begins with two beginning-of-sequence tokens.
    """
    return _scaffold(tokenizer, tokenizer.get_chat_template(), roles)


@functools.lru_cache(maxsize=16)
def _scaffold(tokenizer: PreTrainedTokenizerBase, template: str, roles: tuple[str, ...]) -> Scaffold:
    """Cached by the template too: a tokenizer can be given another one."""
    placeholders = unused_words(template, len(roles))
    text = render(tokenizer, list(zip(roles, placeholders, strict=True)))
    for role, placeholder in zip(roles, placeholders, strict=True):
        if placeholder not in text:
            raise UserError(f"the chat template of {tokenizer.name_or_path!r} leaves out or rewrites the {role} text")
    ids = token_ids(tokenizer, text)
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} begins with two {tokenizer.bos_token}: fix the template"
        )
    adds_bos = bos is not None and tokenizer("")["input_ids"][:1] == [bos]
    missing_bos = [bos] if adds_bos and ids[:1] != [bos] else []
    return Scaffold(text, placeholders, special_tokens(tokenizer).among(ids), missing_bos)


def unused_words(template: str, count: int) -> list[str]:
    """Words that do not occur in the template, and none of which contains another."""
    letters = "q"
    while letters in template:
        letters += "q"
    return [f"{letters}x{'y' * index}x" for index in range(count)]
