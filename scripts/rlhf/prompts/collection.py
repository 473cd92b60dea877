"""Turn the rows of a dataset into prompts: normalised, deduplicated, filtered by length and ordered by hash."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rlhf.base.artifacts import Artifact
from rlhf.base.errors import UserError
from rlhf.base.settings import canonical_json
from rlhf.datasets.conversations import Example, Messages, NoPromptError, as_turns, read_example
from rlhf.prompts.schema import NOTHING_KEPT, PROMPTS, conversation_duplicate_key, conversation_id, order_key
from rlhf.prompts.settings import CollectSpec
from rlhf.tokens.chat import encode_messages
from rlhf.tokens.templates import RefusedError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.prompts.contamination import Contamination

DROP_REASONS = ("not_text", "empty", "duplicate", "too_long")
"""Why a row is dropped, in the order of the checks; the first reason that applies is counted."""
OF_CHATS = ("not_a_chat", "refused_by_template")
"""Further reasons, where the column holds conversations. `contaminated` is the last one, where benchmarks are given."""


ORDER = pa.field("order", pa.string())
BUCKETS = 64
"""Ranges of the order, each with a temporary file of its own. A million prompts make 16,000 per bucket."""
ROWS_AT_ONCE = 256
"""Rows buffered in memory before they are written to their bucket."""


class KeptPrompts:
    """Prompts on disk, bucketed by their place in the order, so that only one bucket at a time is sorted in memory."""

    def __init__(self, artifact: Artifact) -> None:
        self.count = 0
        self.artifact = artifact
        self._schema = artifact.schema.insert(0, ORDER)
        self._files = [tempfile.TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - open as long as this object lives
        self._writers = [pa.ipc.new_stream(file, self._schema) for file in self._files]
        self._waiting: list[list[dict[str, object]]] = [[] for _ in self._files]

    def add(self, order: str, row: Mapping[str, object]) -> None:
        """Add a row of the artifact, or one with more columns than it has."""
        bucket = int(order[:2], 16) * BUCKETS // 256
        self._waiting[bucket].append({"order": order, **{name: row[name] for name in self.artifact.schema.names}})
        self.count += 1
        if len(self._waiting[bucket]) == ROWS_AT_ONCE:
            self._flush(bucket)

    def close(self) -> None:
        """Write what is buffered; nothing can be added afterwards."""
        for bucket, writer in enumerate(self._writers):
            self._flush(bucket)
            writer.close()

    def tables(self) -> Iterator[pa.Table]:
        """All prompts as rows of the artifact, in order, bucket by bucket."""
        for file in self._files:
            file.seek(0)
            yield pa.ipc.open_stream(file).read_all().combine_chunks().sort_by("order").drop_columns("order")

    def _flush(self, bucket: int) -> None:
        self._writers[bucket].write_table(pa.Table.from_pylist(self._waiting[bucket], schema=self._schema))
        self._waiting[bucket] = []


@dataclass(frozen=True)
class Collection:
    """The prompts that were kept, and the number of rows that were dropped, by reason."""

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
    rows: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    spec: CollectSpec,
    artifact: Artifact,
    contamination: Contamination | None = None,
) -> Collection:
    """Normalise the prompts, drop those that are none, empty, duplicate, too long or a benchmark's, and order the rest
    by hash.

    Args:
        rows: rows of the dataset, in its order, with the column of the prompts and those that are kept.
        tokenizer: tokenizer of the policy, with its chat template.
        artifact: `CHATS`, or `PROMPTS` where prompts are single user turns and keep nothing.
        contamination: the benchmarks whose questions are dropped, if any; it keeps what it finds.

    Raises:
        UserError: a prompt cannot be encoded, see `encode_messages`, or a kept value is not of JSON's types; names the
            row.
    """
    chats = artifact.schema.names != PROMPTS.schema.names
    reasons = (*DROP_REASONS, *(OF_CHATS if chats else ()), *(("contaminated",) if contamination else ()))
    dropped = dict.fromkeys(reasons, 0)
    seen: set[bytes] = set()
    kept = KeptPrompts(artifact)
    for number, row in enumerate(rows):
        try:
            example = _new_example(row[spec.column], spec, seen)
            identity = conversation_id(example.messages, spec.template)
            refusable = not isinstance(row[spec.column], str)
            ids = _encoded(tokenizer, with_system(example.messages, spec.system), spec, refusable=refusable)
            if contamination and any(
                contamination.holds(identity, text) for role, text in example.messages if role == "user"
            ):
                raise NoPromptError("contaminated")
            found = {
                "prompt_id": identity,
                "prompt": example.text,
                "prompt_token_ids": np.array(ids, np.int32),
                "messages": as_turns(with_system(example.messages, spec.system)) if chats else None,
                "kept": _kept(row, spec.keep),
            }
        except NoPromptError as reason:
            dropped[str(reason)] += 1
        except UserError as error:
            raise UserError(f"row {number} of the dataset: {error}") from error
        else:
            kept.add(order_key(spec.seed, identity), found)
    kept.close()
    return Collection(kept, dropped, contamination)


def with_system(messages: Messages, system: str | None) -> Messages:
    """A prompt with the experiment's system prompt, unless it has its own."""
    return messages if system is None or messages[0][0] == "system" else (("system", system), *messages)


def _new_example(value: object, spec: CollectSpec, seen: set[bytes]) -> Example:
    """Read a value of the column; adds its prompt to `seen`.

    Raises:
        NoPromptError: it is none, or a duplicate.
    """
    example = read_example(value, spec.turns)
    key = hashlib.sha256(conversation_duplicate_key(example.messages).encode()).digest()[:16]
    if key in seen:
        raise NoPromptError("duplicate")
    seen.add(key)
    return example


def _encoded(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, spec: CollectSpec, *, refusable: bool
) -> list[int]:
    """Token ids of a prompt.

    Args:
        refusable: whether prompts differ in their turns, so that a template may refuse one and take others.
    """
    try:
        ids = encode_messages(tokenizer, messages, spec.template)
    except RefusedError:
        if not refusable:
            raise
        raise NoPromptError("refused_by_template") from None
    if len(ids) > spec.max_tokens:
        raise NoPromptError("too_long")
    return ids


def _kept(row: Mapping[str, Any], columns: list[str]) -> str:
    """JSON of the columns that a prompt keeps."""
    if not columns:
        return NOTHING_KEPT
    for column in columns:
        try:
            canonical_json(row[column])
        except (TypeError, ValueError) as error:
            raise UserError(
                f"prompts.keep: the column {column!r} holds {str(row[column])[:80]!r}, which cannot be written as JSON "
                f"({error}): convert it to text or numbers, or leave it out"
            ) from error
    return canonical_json({column: row[column] for column in columns})
