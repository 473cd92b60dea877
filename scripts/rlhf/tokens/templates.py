"""Chat templates as text: conversations rendered by a tokenizer's own template, and the template without contents."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rlhf.base.errors import UserError
from rlhf.datasets.conversations import Message, as_turns
from rlhf.tokens.special_tokens import special_tokens, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TemplateOptions = Mapping[str, Any]
"""What a chat template reads beside the conversation, such as `enable_thinking`; values of JSON's types."""
NO_OPTIONS: TemplateOptions = MappingProxyType({})
NOT_OPTIONS = frozenset(
    {
        "add_generation_prompt",
        "bos_token",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "eos_token",
        "max_length",
        "messages",
        "padding",
        "raise_exception",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "sanitize_control_tokens",
        "strftime_now",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""Names that are the template's input or the renderer's own arguments."""
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


class RefusedError(UserError):
    """A chat template refuses a conversation."""


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], options: TemplateOptions = NO_OPTIONS
) -> str:
    """The conversation as the template writes it; if the user has the last word, with the header of the answer.

    Raises:
        RefusedError: the template refuses the conversation.
    """
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                as_turns(messages),
                add_generation_prompt=messages[-1][0] == "user",
                tokenize=False,
                strftime_now=TEMPLATE_DATE.strftime,
                **options,
            )
        )
    except TemplateError as error:
        roles = [role for role, _ in messages]
        remedy = " Many templates have no system prompt: set `prompts.system` to null." if "system" in roles else ""
        raise RefusedError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {', '.join(roles)}: "
            f"{error}.{remedy}"
        ) from error


def scaffold_of(
    tokenizer: PreTrainedTokenizerBase, roles: tuple[str, ...], options: TemplateOptions = NO_OPTIONS
) -> Scaffold:
    """The tokenizer's template around placeholders, one for each role.

    Raises:
        UserError: the template leaves out a content, changes it, or begins with two beginning-of-sequence tokens.
    """
    return _scaffold(tokenizer, tokenizer.get_chat_template(), roles, json.dumps(dict(options), sort_keys=True))


@functools.lru_cache(maxsize=256)  # conversations have many lengths
def _scaffold(tokenizer: PreTrainedTokenizerBase, template: str, roles: tuple[str, ...], options: str) -> Scaffold:
    """Cached by the template too: a tokenizer can be given another one."""
    placeholders = unused_words(template, len(roles))
    text = render(tokenizer, list(zip(roles, placeholders, strict=True)), json.loads(options))
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


def require_options(tokenizer: PreTrainedTokenizerBase, options: TemplateOptions) -> None:
    """Raise UserError for options that the chat template does not read: it would ignore them without a word."""
    known = options_of(str(tokenizer.get_chat_template())) if options else set()
    if unknown := sorted(set(options) - known):
        raise UserError(
            f"prompts.template: the chat template of {tokenizer.name_or_path!r} does not read "
            f"{', '.join(map(repr, unknown))}; it reads {', '.join(map(repr, sorted(known))) or 'no options'}"
        )


def options_of(template: str) -> set[str]:
    """The names that a template reads and never sets, or sets only where they are not defined."""
    from jinja2 import Environment, nodes

    environment = Environment(extensions=["jinja2.ext.loopcontrols"])
    # `generation` blocks are an extension of transformers.
    syntax = environment.parse(re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", template))
    names = list(syntax.find_all(nodes.Name))
    read, written = ({name.name for name in names if (name.ctx == "load") is loads} for loads in (True, False))
    tested = {test.node.name for test in syntax.find_all(nodes.Test)
              if test.name == "defined" and isinstance(test.node, nodes.Name)}  # fmt: skip
    return (read - written | tested) - NOT_OPTIONS - {"loop"} - set(environment.globals)
