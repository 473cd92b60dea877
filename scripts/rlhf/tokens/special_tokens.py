"""Special tokens: those that a text contains, and text that is tokenized without them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN_CHARACTERS = 80
"""Of a text that an error quotes."""


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a tokenizer."""

    ids_by_text: dict[str, int]
    control_ids: frozenset[int]
    """Ids that control a model: all but the unknown token's."""
    pattern: re.Pattern[str]
    """Matches the text of any special token, the longest first; it is one group, so that `split` keeps the tokens."""

    def among(self, ids: Sequence[int]) -> list[int]:
        """The control tokens in `ids`, in order."""
        return [token for token in ids if token in self.control_ids]


@functools.lru_cache(maxsize=8)
def special_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """The special tokens of a tokenizer; its unknown token controls nothing unless it also begins or ends texts."""
    ids = {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids.update(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    control = set(ids.values())
    if tokenizer.unk_token_id not in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        control.discard(tokenizer.unk_token_id)
    pattern = "|".join(re.escape(text) for text in sorted(ids, key=lambda text: (-len(text), text)))
    return SpecialTokens(ids, frozenset(control), re.compile(f"({pattern})" if ids else r"(?!)"))


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenize `text`, where special tokens are special; no token is added."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def plain_text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenize `text`, where special tokens are text like any other; no token is added.

    Raises:
        UserError: the tokenizer makes control tokens of them nevertheless.
    """
    ids = list(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
    if special_tokens(tokenizer).among(ids):
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path!r} cannot encode the special tokens in this text as text; "
            f"remove it from your data: {text[:SHOWN_CHARACTERS]!r}"
        )
    return ids
