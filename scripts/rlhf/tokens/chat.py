"""Conversations to token ids by a chat template, exactly: one beginning-of-sequence token, special tokens only from it.

Text without special tokens takes the usual way: the template is rendered and tokenized. If that would turn text into
control tokens (somebody wrote `<|eot_id|>` in a prompt), the template is rendered around placeholders instead and split
at its own special tokens; what lies between them is tokenized as plain text.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.datasets.conversations import Message
from rlhf.tokens.special_tokens import SHOWN_CHARACTERS, plain_text_ids, special_tokens, token_ids
from rlhf.tokens.templates import NO_OPTIONS, Scaffold, TemplateOptions, render, scaffold_of, unused_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_messages(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], options: TemplateOptions = NO_OPTIONS
) -> list[int]:
    """Token ids of a conversation by the tokenizer's own chat template.

    If the user has the last word, up to where the assistant's answer begins; else with everything that the template
    puts around and after the answer, which is what a reward model reads. They begin with exactly one
    beginning-of-sequence token if the template or the tokenizer itself adds one. Special tokens written in the messages
    are encoded as plain text.

    Raises:
        RefusedError: the template refuses the conversation.
        UserError: it begins it with two beginning-of-sequence tokens, or the special tokens in the text cannot be
            encoded as text.
    """
    scaffold = scaffold_of(tokenizer, tuple(role for role, _ in messages), options)
    rendered = render(tokenizer, messages, options)
    ids = token_ids(tokenizer, rendered)
    if special_tokens(tokenizer).among(ids) != scaffold.special_ids:
        ids = _with_plain_contents(tokenizer, scaffold, [content for _, content in messages], rendered)
    return [*scaffold.missing_bos, *ids]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None = None) -> list[int]:
    """Token ids of a single turn of the user, up to where the assistant's answer begins. See `encode_messages`."""
    messages = [("system", system)] if system is not None else []
    return encode_messages(tokenizer, [*messages, ("user", prompt)])


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a complete response: its text, with special tokens as plain text, and the end-of-turn token.

    Raises:
        UserError: the special tokens in the text cannot be encoded as text.
    """
    return [*plain_text_ids(tokenizer, text), end_of_turn_id(tokenizer)]


def turn_change_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the template puts between a prompt and its answer: the end of the user's turn, the assistant's header.

    Raises:
        UserError: it does not begin with a special token, so where it begins depends on the prompt.
    """
    scaffold = scaffold_of(tokenizer, ("user",))
    ids = token_ids(tokenizer, scaffold.text.rpartition(scaffold.placeholders[-1])[2])
    if ids[:1] != special_tokens(tokenizer).among(ids[:1]) or not ids:
        raise UserError(f"the chat template of {tokenizer.name_or_path!r} ends a prompt without a special token")
    return ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first special token that the template puts after the answer.

    The first one, because some templates close the last turn with an end-of-text token after it. If the template puts
    no special token there, it is the tokenizer's end-of-sequence token.

    Raises:
        UserError: there is neither.
    """
    return _end_of_turn_id(tokenizer, tokenizer.get_chat_template())


@functools.lru_cache(maxsize=8)
def _end_of_turn_id(tokenizer: PreTrainedTokenizerBase, template: str) -> int:
    """Cached by the template too: a tokenizer can be given another one."""
    question, answer = unused_words(template, 2)
    rendered = render(tokenizer, [("user", question), ("assistant", answer)])
    _, found, after = rendered.rpartition(answer)
    if not found:
        raise UserError(f"the chat template of {tokenizer.name_or_path!r} leaves out the assistant's message")
    specials = special_tokens(tokenizer)
    token = specials.pattern.search(after)
    if token:
        return specials.ids_by_text[token.group()]
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} ends an answer with no special token, and the tokenizer "
            "has no eos_token: nothing marks the end of an answer"
        )
    return int(tokenizer.eos_token_id)


def _with_plain_contents(
    tokenizer: PreTrainedTokenizerBase, scaffold: Scaffold, contents: Sequence[str], rendered: str
) -> list[int]:
    """The ids of `rendered`, in which only the special tokens of the template itself are control tokens."""
    shown = _rendered_contents(tokenizer, scaffold, contents, rendered)
    if _ids_by_pieces(tokenizer, scaffold, scaffold.placeholders) != token_ids(tokenizer, scaffold.text):
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path!r} encodes text differently after a special token, so special "
            f"tokens in it cannot be encoded as text; remove this from your data: {_quoted(contents)}"
        )
    return _ids_by_pieces(tokenizer, scaffold, shown)


def _rendered_contents(
    tokenizer: PreTrainedTokenizerBase, scaffold: Scaffold, contents: Sequence[str], rendered: str
) -> list[str]:
    """The contents as the template writes them: each unchanged, or stripped of outer white space."""
    for shown in itertools.product(*((content, content.strip()) for content in contents)):
        if scaffold.fill(scaffold.text, shown) == rendered:
            return list(shown)
    raise UserError(
        f"the chat template of {tokenizer.name_or_path!r} changes the text of a conversation with special tokens in "
        f"it, so they cannot be told from its own; remove this from your data: {_quoted(contents)}"
    )


def _quoted(contents: Sequence[str]) -> str:
    return ", ".join(repr(content[:SHOWN_CHARACTERS]) for content in contents)


def _ids_by_pieces(tokenizer: PreTrainedTokenizerBase, scaffold: Scaffold, contents: Sequence[str]) -> list[int]:
    """Split the scaffold at its special tokens, and tokenize what lies between them as plain text."""
    specials = special_tokens(tokenizer)
    ids: list[int] = []
    for piece in specials.pattern.split(scaffold.text):
        if piece in specials.ids_by_text:
            ids.append(specials.ids_by_text[piece])
        elif piece:
            ids.extend(plain_text_ids(tokenizer, scaffold.fill(piece, contents)))
    return ids
