"""Prompts collected from values of a column, as `collect_prompts` does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rlhf.base.artifacts import Artifact
from rlhf.prompts.collection import Collection, collect
from rlhf.prompts.schema import PROMPTS
from rlhf.prompts.settings import CollectSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.prompts.contamination import Contamination

DEFAULTS: dict[str, Any] = {
    "seed": 1,
    "dataset": "dataset",
    "dataset_fingerprint": None,
    "revision": None,
    "split": "train",
    "column": "prompt",
    "system": None,
    "max_tokens": 50,
    "model": None,
}


def collected_prompts(
    values: Iterable[object],
    tokenizer: PreTrainedTokenizerBase,
    artifact: Artifact = PROMPTS,
    contamination: Contamination | None = None,
    **spec: Any,
) -> Collection:
    """Collect the prompts of a column.

    Args:
        values: of the column; or whole rows, as dicts with the column.
        spec: what differs from `DEFAULTS`.
    """
    rows = (value if isinstance(value, dict) and "prompt" in value else {"prompt": value} for value in values)
    return collect(rows, tokenizer, CollectSpec(**DEFAULTS | spec), artifact, contamination)
