"""Checks of a local model folder before any job: weights, tokenizer, chat template."""

from __future__ import annotations

import json
from pathlib import Path

from rlhf.base.errors import UserError

WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
"""Pickled weights are told apart where they would be loaded, with the line that converts them."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")


def check_model_folder(
    folder: Path, without_template: str | None = "use an instruction-tuned model, or put a template there"
) -> None:
    """Check a model folder.

    Args:
        without_template: what to do where there is no chat template; None where none is needed.

    Raises:
        UserError: it lacks weights, a tokenizer, or the chat template that is needed.
    """
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise UserError(f"'{folder}': no weights in this folder (*.safetensors): copy the model again")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(f"'{folder}': no tokenizer in this folder ({', '.join(TOKENIZERS)}): save the model's with it")
    has_template = any((folder / name).is_file() for name in TEMPLATES) or _configured_template(folder)
    if not has_template and without_template is not None:
        raise UserError(f"'{folder}': its tokenizer has no chat template ({TEMPLATES[0]}): {without_template}")


def _configured_template(folder: Path) -> bool:
    """Whether the tokenizer's configuration holds a chat template, as older versions of transformers save it."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (ValueError, AttributeError) as error:
        raise UserError(f"'{path}': it is no JSON object: {error}. Copy the model again.") from error
