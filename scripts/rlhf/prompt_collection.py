"""From the texts of a dataset to prompts: normalised, each once, short enough, ordered by hash; the rest is counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rlhf.chat import encode_prompt
from rlhf.errors import UserError
from rlhf.prompts import PROMPTS, duplicate_key, normalise_prompt, order_key, prompt_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DROP_REASONS = ("not_text", "empty", "duplicate", "too_long")
"""In the order in which a text is looked at; it is dropped for the first one that fits."""


@dataclass(frozen=True)
class Collection:
    """The prompts that are kept, as rows of `PROMPTS`, and how many texts were dropped, by reason."""

    table: pa.Table
    dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, object]:
        """`rows` of the dataset; each is one of the `prompts` or was `dropped`."""
        kept = len(self.table)
        return {"rows": kept + sum(self.dropped.values()), "prompts": kept, "dropped": self.dropped}


def collect(
    texts: Iterable[object], tokenizer: PreTrainedTokenizerBase, *, seed: int, system: str | None, max_tokens: int
) -> Collection:
    """Normalise, drop what is not text, empty, a duplicate of an earlier text or too long, and order by hash.

    Args:
        texts: what the dataset's column holds, in the order of its rows: strings, nulls, anything.
        tokenizer: the policy's, with its chat template.
        seed: of the order.
        system: system prompt, which counts as part of each prompt's tokens.
        max_tokens: longest prompt in tokens, chat template included.

    Raises:
        UserError: a prompt cannot be encoded, see `encode_prompt`; with its row.
    """
    dropped = dict.fromkeys(DROP_REASONS, 0)
    seen: set[str] = set()
    kept: list[tuple[str, str, str, np.ndarray]] = []
    for row, value in enumerate(texts):
        text = normalise_prompt(value) if isinstance(value, str) else None
        reason = _reason_before_encoding(text, seen)
        if reason is None and text is not None:
            try:
                ids = encode_prompt(tokenizer, text, system)
            except UserError as error:
                raise UserError(f"row {row} of the dataset: {error}") from error
            if len(ids) <= max_tokens:
                identity = prompt_id(text)
                kept.append((order_key(seed, identity), identity, text, np.array(ids, np.int32)))
            else:
                reason = "too_long"
        if reason is not None:
            dropped[reason] += 1
    kept.sort(key=lambda row: row[0])
    columns = [[row[column] for row in kept] for column in (1, 2, 3)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, PROMPTS.schema, strict=True)]
    return Collection(pa.Table.from_arrays(arrays, schema=PROMPTS.schema), dropped)


def _reason_before_encoding(text: str | None, seen: set[str]) -> str | None:
    """Why a normalised text is dropped, as far as no tokenizer is needed; keeps `seen` up to date."""
    if text is None:
        return "not_text"
    if not text:
        return "empty"
    key = duplicate_key(text)
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None
