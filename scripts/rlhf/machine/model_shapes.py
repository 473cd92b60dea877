"""Sizes of a decoder, read from its `config.json`, that estimates of memory and operations are based on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError

SHIPPED = Path(__file__).with_name("model_shapes.json")
"""Configurations of the models in the experiments under `config/`, so that a plan does not need the hub."""


@dataclass(frozen=True)
class ModelShape:
    """A Llama-like decoder: each layer has grouped-query attention and a gated MLP."""

    layers: int
    hidden: int
    """Width of the residual stream."""
    intermediate: int
    """Width of the gated MLP."""
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    context: int
    """Longest sequence in tokens."""
    tied: bool = False
    """Whether embedding and head share one matrix."""

    @property
    def queries(self) -> int:
        """Total width of the queries."""
        return self.heads * self.head_width

    @property
    def keys(self) -> int:
        """Total width of the keys, and of the values."""
        return self.key_heads * self.head_width

    @property
    def layer_matrices(self) -> int:
        """Number of weights in the matrices of one layer."""
        attention = self.hidden * (2 * self.queries + 2 * self.keys)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def embedding(self) -> int:
        """Number of weights of the embedding, and of the head."""
        return self.vocabulary * self.hidden

    @property
    def norms(self) -> int:
        """Number of weights of all norms."""
        return (2 * self.layers + 1) * self.hidden

    @property
    def decoder(self) -> int:
        """Number of weights without the head."""
        return self.layers * self.layer_matrices + self.embedding + self.norms

    @property
    def parameters(self) -> int:
        """Number of weights, head included; a tied head counts once."""
        return self.decoder + (0 if self.tied else self.embedding)

    def adapters(self, rank: int) -> int:
        """Number of weights of LoRA adapters on all layer matrices."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))


def shape_of_config(config: Mapping[str, Any]) -> ModelShape | None:
    """The shape described by a `config.json`; None if the model is not a Llama-like decoder."""
    config = config.get("text_config", config)  # multimodal models keep the decoder's apart
    needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    if any(config.get(key) is None for key in needed) or any("experts" in key for key in config):
        return None
    heads = int(config["num_attention_heads"])
    return ModelShape(
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        key_heads=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or config["hidden_size"] // heads),
        vocabulary=int(config["vocab_size"]),
        context=int(config.get("max_position_embeddings") or 0),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def known_shape(name: str, revision: str | None = None) -> ModelShape | None:
    """The shape of a model in a local folder or the hub's cache, or of one listed in `model_shapes.json`.

    Returns:
        None if the model is not available yet (before `prefetch`, or before the rule that makes it has run), or is not
        a Llama-like decoder.

    Raises:
        UserError: its `config.json` is damaged.
    """
    folder = model_folder(name, revision)
    if folder is not None and (folder / "config.json").is_file():
        return _shape_in_file(folder / "config.json", name)
    shipped = json.loads(SHIPPED.read_text())
    return shape_of_config(shipped[name]) if name in shipped else None


def _shape_in_file(path: Path, name: str) -> ModelShape | None:
    try:
        return shape_of_config(json.loads(path.read_text(encoding="utf-8")))
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        ZeroDivisionError,
    ) as error:  # unsuitable contents
        # In the hub's cache it is a link. Delete its target: the hub's library would only recreate the link.
        cached = f"delete {path.resolve()} and fetch it again with `snakemake prefetch`"
        again = f"copy the model {name} again" if Path(name).is_dir() else cached
        raise UserError(
            f"{path}: this file is damaged: it does not describe a model ({type(error).__name__}: {error}); {again}"
        ) from error


def model_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of a local model, or of one in the hub's cache; None if it is not here.

    The cache is read without `huggingface_hub`, whose import would add a second to every plan.
    """
    if Path(name).is_dir():
        return Path(name)
    home = Path(os.environ.get("HF_HOME", Path("~/.cache/huggingface").expanduser()))
    repository = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / (commit or "none")
    return folder if (folder / "config.json").is_file() else None
