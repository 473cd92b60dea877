"""The only module that calls `from_pretrained`, so that no code from a model's repository ever runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlhf.base.errors import UserError
from rlhf.models.files import refuse_own_code

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def load_pretrained(loader: Any, kind: str, name: str, revision: str | None, **options: Any) -> Any:
    """Load a model, tokenizer or configuration with transformers.

    Args:
        loader: a class of transformers.
        kind: what is loaded, for messages.
        options: further arguments of `loader.from_pretrained`.

    Raises:
        UserError: there is no such model, its files are damaged, or it needs custom code.
    """
    from safetensors import SafetensorError

    try:
        refuse_own_code(loader.__name__, name, revision)
        return loader.from_pretrained(name, revision=revision or "main", trust_remote_code=False, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"cannot load a {kind} from {name!r}: {error}") from error


def load_config(name: str, revision: str | None) -> PreTrainedConfig:
    """The model's configuration.

    Raises:
        UserError: there is none, or transformers does not support its architecture.
    """
    from transformers import AutoConfig

    config: PreTrainedConfig = load_pretrained(AutoConfig, "configuration", name, revision)
    return config


def context_length(name: str, revision: str | None) -> int | None:
    """The model's maximum context length in tokens; None if its configuration does not say."""
    return getattr(load_config(name, revision).get_text_config(), "max_position_embeddings", None)
