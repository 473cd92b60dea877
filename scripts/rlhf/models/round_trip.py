"""Whether a tokenizer gives texts back: one that is loaded as another kind than it was made loses spaces silently."""

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
"""Words, spaces, lines, code, other scripts; no space before a full stop, which some tokenizers take away by rule."""
SPACE_MARK = "▁"
"""How tokenizers of SentencePiece's form write a space."""


def check_round_trip(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise UserError where a text does not come back from its token ids, as the text of a response must.

    A tokenizer may change a text as its own normaliser says (case, Unicode forms), but no white space within it; and
    have no tokens for the characters of other scripts.
    """
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
        unknown = not text.isascii() and tokenizer.unk_token_id in ids
        if back not in _acceptable(tokenizer, text) and not unknown:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path!r} does not give a text back: {text!r} comes back from its "
                f"ids as {back!r}. Prompts and responses would be other texts than the model's. It may be loaded as "
                f"another kind ({type(tokenizer).__name__}) than it was made: mend `tokenizer_class` in its "
                "tokenizer_config.json (PreTrainedTokenizerFast takes tokenizer.json as it is), or take another model."
            )


def _acceptable(tokenizer: PreTrainedTokenizerBase, text: str) -> set[str]:
    """What a text may come back as."""
    forms = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text)}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        forms.add(backend.normalizer.normalize_str(text).replace(SPACE_MARK, " ").strip())
    white_space = re.findall(r"\s+", text)
    return {form for form in forms if re.findall(r"\s+", form) == white_space}
