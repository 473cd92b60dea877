"""Checks that a tokenizer decodes what it encodes: one loaded as the wrong class silently loses spaces."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "One space, two  spaces, three   spaces: 3.14, 1,000 and 50%!",
    "First line\nsecond line\n\nnew paragraph\twith a tab",
    "def double(x):\n    if x > 0:\n        return {'y': [x * 2, x // 3]}\n    return None",
    "Größe, café, naïve: Ελληνικά, Привет мир, 你好世界, こんにちは, 😀🎉",
)
"""Words, spaces, lines, code, other scripts; no space before a full stop, since some tokenizers remove it by design."""
SPACE_MARK = "▁"
"""How SentencePiece tokenizers write a space."""


def check_round_trip(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise UserError if decoding a text's token ids does not give the text back.

    A tokenizer may normalize a text (case, Unicode forms) but must keep its whitespace, and may lack tokens for
    characters of other scripts.
    """
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
        unknown = not text.isascii() and tokenizer.unk_token_id in ids
        if back not in _acceptable(tokenizer, text) and not unknown:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path!r} does not round-trip: {text!r} is decoded as {back!r}, so "
                "prompts and responses would differ from what the model sees. It may be loaded as the wrong class "
                f"({type(tokenizer).__name__}): fix `tokenizer_class` in its tokenizer_config.json "
                "(PreTrainedTokenizerFast uses tokenizer.json as it is), or use another model."
            )


def _acceptable(tokenizer: PreTrainedTokenizerBase, text: str) -> set[str]:
    """The texts that `text` may be decoded as."""
    forms = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text)}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        forms.add(backend.normalizer.normalize_str(text).replace(SPACE_MARK, " ").strip())
    whitespace = re.findall(r"\s+", text)
    return {form for form in forms if re.findall(r"\s+", form) == whitespace}
