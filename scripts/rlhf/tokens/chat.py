"""Chat templates to token ids, exactly: one beginning-of-sequence token, and special tokens in text stay text.

Usual text goes the plain way: the template is rendered and tokenized. Where that would turn text into control tokens
(somebody wrote `<|eot_id|>` in a prompt), the template is rendered around stand-ins for the text, cut at its own
special tokens, and what lies between them is tokenized as text.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = tuple[str, str]
"""Role and content."""

TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""What templates that print the date get: equal inputs give equal ids on every day. It is Llama-3.1's own default."""
SHOWN_CHARACTERS = 80


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None = None) -> list[int]:
    """Token ids of a conversation up to where the assistant's answer begins, by the tokenizer's own chat template.

    They begin with one beginning-of-sequence token where the template or the tokenizer itself gives one. Special tokens
    that are written in `prompt` or `system` are encoded as the text that they are.

    Raises:
        UserError: the template refuses the conversation, begins it with two beginning-of-sequence tokens, or the
            special tokens in the text cannot be encoded as text.
    """
    messages = [("system", system)] if system is not None else []
    messages.append(("user", prompt))
    return _encode(tokenizer, messages)


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a response that came to its end: its text, special tokens in it as text, and the end-of-turn token.

    Raises:
        UserError: the special tokens in the text cannot be encoded as text.
    """
    return [*_text_ids(tokenizer, text), end_of_turn_id(tokenizer)]


def encode_conversation(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> list[int]:
    """Token ids of a prompt and its whole answer, with all that the template puts around and behind them.

    This is what a reward model reads. Special tokens that are written in the texts are encoded as text.

    Raises:
        UserError: see `encode_prompt`.
    """
    return _encode(tokenizer, [("user", prompt), ("assistant", response)])


def turn_change_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the template puts between a prompt and its answer: the end of the user's turn, the assistant's header.

    Raises:
        UserError: it does not begin with a special token, so that where it begins depends on the prompt.
    """
    scaffold = _scaffold(tokenizer, tokenizer.get_chat_template(), ("user",))
    ids = _plain_ids(tokenizer, scaffold.text.rpartition(scaffold.stand_ins[-1])[2])
    if ids[:1] != _specials(tokenizer).among(ids[:1]) or not ids:
        raise UserError(f"the chat template of {tokenizer.name_or_path!r} ends a prompt without a special token")
    return ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first special token that the template puts after the answer.

    The first, because some templates close the last turn with an end-of-text token behind it. Where the template puts
    no special token there, it is the tokenizer's end-of-sequence token.

    Raises:
        UserError: there is neither.
    """
    return _end_of_turn_id(tokenizer, tokenizer.get_chat_template())


@dataclass(frozen=True)
class _Specials:
    """The special tokens of a tokenizer by their text, and the ids among them that control a model."""

    ids_by_text: dict[str, int]
    control_ids: frozenset[int]
    pattern: re.Pattern[str]

    def among(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self.control_ids]


@dataclass(frozen=True)
class _Scaffold:
    """A rendered template with stand-ins for the contents."""

    text: str
    stand_ins: list[str]
    special_ids: list[int]
    """The control tokens in it, in order."""
    missing_bos: list[int]
    """The beginning-of-sequence token where the tokenizer gives one to a plain text and the template does not."""


@functools.lru_cache(maxsize=8)
def _specials(tokenizer: PreTrainedTokenizerBase) -> _Specials:
    """Special tokens; the unknown token is none that controls a model, unless it ends or begins texts as well."""
    ids = {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids.update(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    control = set(ids.values())
    if tokenizer.unk_token_id not in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        control.discard(tokenizer.unk_token_id)
    pattern = "|".join(re.escape(text) for text in sorted(ids, key=lambda text: (-len(text), text)))
    return _Specials(ids, frozenset(control), re.compile(f"({pattern})" if ids else r"(?!)"))


@functools.lru_cache(maxsize=16)
def _scaffold(tokenizer: PreTrainedTokenizerBase, template: str, roles: tuple[str, ...]) -> _Scaffold:
    """The template around stand-ins; `template` is part of the key, so that another one makes another scaffold."""
    stand_ins = _stand_ins(template, len(roles))
    text = _render(tokenizer, list(zip(roles, stand_ins, strict=True)))
    for role, stand_in in zip(roles, stand_ins, strict=True):
        if stand_in not in text:
            raise UserError(f"the chat template of {tokenizer.name_or_path!r} leaves out or rewrites the {role} text")
    ids = _plain_ids(tokenizer, text)
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} begins with two {tokenizer.bos_token}: mend the template"
        )
    adds_bos = bos is not None and tokenizer("")["input_ids"][:1] == [bos]
    missing_bos = [bos] if adds_bos and ids[:1] != [bos] else []
    return _Scaffold(text, stand_ins, _specials(tokenizer).among(ids), missing_bos)


@functools.lru_cache(maxsize=8)
def _end_of_turn_id(tokenizer: PreTrainedTokenizerBase, template: str) -> int:
    question, answer = _stand_ins(template, 2)
    rendered = _render(tokenizer, [("user", question), ("assistant", answer)])
    _, found, after = rendered.rpartition(answer)
    if not found:
        raise UserError(f"the chat template of {tokenizer.name_or_path!r} leaves out the assistant's message")
    specials = _specials(tokenizer)
    token = specials.pattern.search(after)
    if token:
        return specials.ids_by_text[token.group()]
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} ends an answer with no special token, and the tokenizer "
            "has no eos_token: nothing says where an answer ends"
        )
    return int(tokenizer.eos_token_id)


def _stand_ins(template: str, count: int) -> list[str]:
    """Words that the template does not hold, none of them part of another."""
    letters = "q"
    while letters in template:
        letters += "q"
    return [f"{letters}x{'y' * index}x" for index in range(count)]


def _encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The conversation as the template renders it, up to the assistant's answer or behind it."""
    roles = tuple(role for role, _ in messages)
    scaffold = _scaffold(tokenizer, tokenizer.get_chat_template(), roles)
    rendered = _render(tokenizer, messages)
    ids = _plain_ids(tokenizer, rendered)
    if _specials(tokenizer).among(ids) != scaffold.special_ids:
        ids = _ids_with_text_as_text(tokenizer, scaffold, [content for _, content in messages], rendered)
    return [*scaffold.missing_bos, *ids]


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The template's text; where the user has the last word, with the header of the assistant's answer."""
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
        remedy = " Many templates know no system prompt: set `prompts.system` to null." if "system" in roles else ""
        raise UserError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {', '.join(roles)}: "
            f"{error}.{remedy}"
        ) from error


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Special tokens in `text` become control tokens, and nothing is added to them."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """All of `text` as text."""
    ids = list(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
    if _specials(tokenizer).among(ids):
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path!r} cannot encode the special tokens in this text as text; "
            f"remove it from your data: {text[:SHOWN_CHARACTERS]!r}"
        )
    return ids


def _ids_with_text_as_text(
    tokenizer: PreTrainedTokenizerBase, scaffold: _Scaffold, contents: Sequence[str], rendered: str
) -> list[int]:
    """The ids of `rendered`, where only the special tokens of the template itself are control tokens."""
    shown = _shown_contents(tokenizer, scaffold, contents, rendered)
    if _ids_in_pieces(tokenizer, scaffold, scaffold.stand_ins) != _plain_ids(tokenizer, scaffold.text):
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path!r} encodes text differently behind a special token, so special "
            f"tokens in it cannot be encoded as text; remove this from your data: {_first_words(contents)}"
        )
    return _ids_in_pieces(tokenizer, scaffold, shown)


def _shown_contents(
    tokenizer: PreTrainedTokenizerBase, scaffold: _Scaffold, contents: Sequence[str], rendered: str
) -> list[str]:
    """The contents as the template shows them: each as it is, or without outer white space."""
    for shown in itertools.product(*((content, content.strip()) for content in contents)):
        if _fill(scaffold.text, scaffold.stand_ins, shown) == rendered:
            return list(shown)
    raise UserError(
        f"the chat template of {tokenizer.name_or_path!r} changes the text of a conversation with special tokens in "
        f"it, so they cannot be told from its own; remove this from your data: {_first_words(contents)}"
    )


def _first_words(contents: Sequence[str]) -> str:
    return ", ".join(repr(content[:SHOWN_CHARACTERS]) for content in contents)


def _ids_in_pieces(tokenizer: PreTrainedTokenizerBase, scaffold: _Scaffold, contents: Sequence[str]) -> list[int]:
    specials = _specials(tokenizer)
    ids: list[int] = []
    for piece in specials.pattern.split(scaffold.text):
        if piece in specials.ids_by_text:
            ids.append(specials.ids_by_text[piece])
        elif piece:
            ids.extend(_text_ids(tokenizer, _fill(piece, scaffold.stand_ins, contents)))
    return ids


def _fill(text: str, stand_ins: Sequence[str], contents: Sequence[str]) -> str:
    """Put the contents where their stand-ins are, all at once: a content may hold another's stand-in."""
    by_stand_in = dict(zip(stand_ins, contents, strict=True))
    return re.sub("|".join(map(re.escape, stand_ins)), lambda match: by_stand_in[match.group()], text)
