"""From the texts of a dataset to prompts: normalised, each once, short enough, ordered by hash; the rest is counted."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rlhf.base.errors import UserError
from rlhf.prompts.schema import PROMPTS, duplicate_key, normalise_prompt, order_key, prompt_id
from rlhf.tokens.chat import encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DROP_REASONS = ("not_text", "empty", "duplicate", "too_long")
"""In the order in which a text is looked at; it is dropped for the first one that fits."""


ORDER = pa.field("order", pa.string())
BUCKETS = 64
"""By the order: of a million prompts, 16,000 are in one. As many files are open at once."""
ROWS_AT_ONCE = 256
"""That wait in memory for their bucket."""


class KeptPrompts:
    """Prompts on disk, in unnamed files by where they stand in the order: one file at a time is sorted."""

    def __init__(self) -> None:
        self.count = 0
        self._schema = PROMPTS.schema.insert(0, ORDER)
        self._files = [tempfile.TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - open as long as this is there
        self._writers = [pa.ipc.new_stream(file, self._schema) for file in self._files]
        self._waiting: list[list[dict[str, object]]] = [[] for _ in self._files]

    def add(self, order: str, identity: str, text: str, token_ids: list[int]) -> None:
        bucket = int(order[:2], 16) * BUCKETS // 256
        ids = np.array(token_ids, np.int32)
        self._waiting[bucket].append(
            {"order": order, **dict(zip(PROMPTS.schema.names, (identity, text, ids), strict=True))}
        )
        self.count += 1
        if len(self._waiting[bucket]) == ROWS_AT_ONCE:
            self._flush(bucket)

    def close(self) -> None:
        """No more are added."""
        for bucket, writer in enumerate(self._writers):
            self._flush(bucket)
            writer.close()

    def tables(self) -> Iterator[pa.Table]:
        """All of them, rows of `PROMPTS` in order."""
        for file in self._files:
            file.seek(0)
            yield pa.ipc.open_stream(file).read_all().combine_chunks().sort_by("order").drop_columns("order")

    def _flush(self, bucket: int) -> None:
        self._writers[bucket].write_table(pa.Table.from_pylist(self._waiting[bucket], schema=self._schema))
        self._waiting[bucket] = []


@dataclass(frozen=True)
class Collection:
    """The prompts that are kept, and how many texts were dropped, by reason."""

    kept: KeptPrompts
    dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, object]:
        """`rows` of the dataset; each is one of the `prompts` or was `dropped`."""
        kept = self.kept.count
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
    seen: set[bytes] = set()
    kept = KeptPrompts()
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
                kept.add(order_key(seed, identity), identity, text, ids)
            else:
                reason = "too_long"
        if reason is not None:
            dropped[reason] += 1
    kept.close()
    return Collection(kept, dropped)


def _reason_before_encoding(text: str | None, seen: set[bytes]) -> str | None:
    """Why a normalised text is dropped, as far as no tokenizer is needed; keeps `seen` up to date."""
    if text is None:
        return "not_text"
    if not text:
        return "empty"
    key = hashlib.sha256(duplicate_key(text).encode()).digest()[:16]
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None
