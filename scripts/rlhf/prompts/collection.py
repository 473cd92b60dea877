"""Turn the texts of a dataset into prompts: normalised, deduplicated, filtered by length and ordered by hash."""

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

    from rlhf.prompts.contamination import Contamination

DROP_REASONS = ("not_text", "empty", "duplicate", "too_long")
"""Why a text is dropped, in the order of the checks; the first reason that applies is counted. `contaminated` is the
last one, where benchmarks are given."""


ORDER = pa.field("order", pa.string())
BUCKETS = 64
"""Ranges of the order, each with a temporary file of its own. A million prompts make 16,000 per bucket."""
ROWS_AT_ONCE = 256
"""Rows buffered in memory before they are written to their bucket."""


class KeptPrompts:
    """Prompts on disk, bucketed by their place in the order, so that only one bucket at a time is sorted in memory."""

    def __init__(self) -> None:
        self.count = 0
        self._schema = PROMPTS.schema.insert(0, ORDER)
        self._files = [tempfile.TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - open as long as this object lives
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
        """Write what is buffered; nothing can be added afterwards."""
        for bucket, writer in enumerate(self._writers):
            self._flush(bucket)
            writer.close()

    def tables(self) -> Iterator[pa.Table]:
        """All prompts as rows of `PROMPTS`, in order, bucket by bucket."""
        for file in self._files:
            file.seek(0)
            yield pa.ipc.open_stream(file).read_all().combine_chunks().sort_by("order").drop_columns("order")

    def _flush(self, bucket: int) -> None:
        self._writers[bucket].write_table(pa.Table.from_pylist(self._waiting[bucket], schema=self._schema))
        self._waiting[bucket] = []


@dataclass(frozen=True)
class Collection:
    """The prompts that were kept, and the number of texts that were dropped, by reason."""

    kept: KeptPrompts
    dropped: dict[str, int]
    contamination: Contamination | None = None

    @property
    def counts(self) -> dict[str, object]:
        """Counts for the provenance: each of the dataset's `rows` is one of the `prompts` or was `dropped`."""
        kept = self.kept.count
        counts = {"rows": kept + sum(self.dropped.values()), "prompts": kept, "dropped": self.dropped}
        return counts if self.contamination is None else {**counts, "benchmarks": self.contamination.counts}


def collect(
    texts: Iterable[object],
    tokenizer: PreTrainedTokenizerBase,
    contamination: Contamination | None = None,
    *,
    seed: int,
    system: str | None,
    max_tokens: int,
) -> Collection:
    """Normalise the texts, drop those that are no text, empty, duplicate, too long or a benchmark's, and order the rest
    by hash.

    Args:
        texts: values of the dataset's column, in the order of its rows: strings, nulls, anything.
        tokenizer: tokenizer of the policy, with its chat template.
        contamination: the benchmarks whose questions are dropped, if any; it keeps what it finds.
        seed: seed of the order.
        system: system prompt; counts towards the tokens of each prompt.
        max_tokens: maximum length of a prompt in tokens, chat template included.

    Raises:
        UserError: a prompt cannot be encoded, see `encode_prompt`; names its row.
    """
    dropped = dict.fromkeys((*DROP_REASONS, *(["contaminated"] if contamination else [])), 0)
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
            identity = prompt_id(text)
            if len(ids) > max_tokens:
                reason = "too_long"
            elif contamination and contamination.holds(identity, text):
                reason = "contaminated"
            else:
                kept.add(order_key(seed, identity), identity, text, ids)
        if reason is not None:
            dropped[reason] += 1
    kept.close()
    return Collection(kept, dropped, contamination)


def _reason_before_encoding(text: str | None, seen: set[bytes]) -> str | None:
    """Why a normalised text is dropped before tokenization, or None; adds the text to `seen`."""
    if text is None:
        return "not_text"
    if not text:
        return "empty"
    key = hashlib.sha256(duplicate_key(text).encode()).digest()[:16]
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None
