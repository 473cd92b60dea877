"""Loads a model's tokenizer, and checks that it fits the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.models.pretrained import load_config, load_pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(
    name: str, revision: str | None = None, *, without_template: str | None = "use an instruction-tuned model"
) -> PreTrainedTokenizerBase:
    """Load the model's own tokenizer.

    Args:
        without_template: what to do where it has no chat template; None where none is needed.

    Raises:
        UserError: there is no such tokenizer, or it lacks the chat template that is needed.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = load_pretrained(AutoTokenizer, "tokenizer", name, revision)
    # Options of this load, which would be saved with the tokenizer; HF_HUB_OFFLINE sets the first.
    for key in ("local_files_only", "trust_remote_code"):
        tokenizer.init_kwargs.pop(key, None)
    if not tokenizer.chat_template and without_template is not None:
        raise UserError(f"the tokenizer of {name!r} has no chat template; {without_template}")
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str, revision: str | None) -> None:
    """Raise UserError if the tokenizer has ids beyond the model's embeddings."""
    vocabulary = load_config(name, revision).get_text_config().vocab_size
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise UserError(
            f"{name}: its tokenizer has the token {token!r} with id {largest}, but the model has only {vocabulary} "
            "embeddings: tokenizer and model do not belong together"
        )
