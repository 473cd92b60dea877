"""Token ids that another run has stored beside their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def are_ids_of(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], text: str) -> bool:
    """Whether sampled token ids are of this tokenizer: whether it decodes them to the text that is stored with them."""
    if not token_ids or max(token_ids) >= len(tokenizer):
        return False
    return bool(tokenizer.decode(list(token_ids), skip_special_tokens=True) == text)
