"""Model folders of the tiny world: weights, tokenizer and provenance, written atomically."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from rlhf.base.files.folders import whole_folder, write_folder_provenance


def save_model(
    target: Path,
    save_weights: Callable[[Path], object],
    tokenizer: PreTrainedTokenizerBase,
    provenance: Mapping[str, Any],
) -> None:
    """Write a model folder by `save_weights(folder)`, with the tokenizer and `provenance.json`."""
    with whole_folder(target) as folder:
        save_weights(folder)
        tokenizer.save_pretrained(folder)
        write_folder_provenance(folder, provenance)
