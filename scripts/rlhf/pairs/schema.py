"""The file of preference pairs, and pairs as they lie in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import TOKEN_IDS, Artifact

PAIRS = Artifact(
    "pairs",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("prompt_token_ids", TOKEN_IDS, nullable=False),
            pa.field("chosen_token_ids", TOKEN_IDS, nullable=False),
            pa.field("rejected_token_ids", TOKEN_IDS, nullable=False),
            pa.field("chosen_draw", pa.int32(), nullable=False),
            pa.field("rejected_draw", pa.int32(), nullable=False),
            pa.field("chosen_reward", pa.float32(), nullable=False),
            pa.field("rejected_reward", pa.float32(), nullable=False),
            pa.field("chosen_win_probability", pa.float32(), nullable=False),
            pa.field("rejected_win_probability", pa.float32(), nullable=False),
            pa.field("chosen", pa.string(), nullable=False),
            pa.field("rejected", pa.string(), nullable=False),
        ]
    ),
    key=("prompt_id",),
)

Pair = Mapping[str, Any]
"""A row of `PAIRS` and, where the loss has a reference, of `LOGPROBS`: the columns that are computed with."""
PAIR_COLUMNS = [
    "prompt_id",
    "prompt_token_ids",
    "chosen_token_ids",
    "rejected_token_ids",
    "chosen_reward",
    "rejected_reward",
    "chosen_win_probability",
    "rejected_win_probability",
]
"""Of `PAIRS`, all but the texts and where they come from."""


class PairTable(Sequence[Pair]):
    """Rows of a table. Each is made anew at every access; its token ids are views of the table, int32 (tokens,)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._batches = table.to_batches()
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def longest(self) -> int:
        """Tokens of the longest pair, its prompt once; 0 without pairs."""
        lengths = [pc.list_value_length(self._table[f"{part}_token_ids"]) for part in ("prompt", "chosen", "rejected")]
        return pc.max(pc.add(pc.add(lengths[0], lengths[1]), lengths[2])).as_py() or 0

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        row = range(len(self))[index]
        place = bisect_right(self._ends, row)
        batch = self._batches[place]
        values = (column[row - self._ends[place] + batch.num_rows] for column in batch.columns)
        return {name: _plain(value) for name, value in zip(batch.schema.names, values, strict=True)}


def _plain(value: pa.Scalar) -> Any:
    """A string or number, or a view of a list's elements."""
    return value.values.to_numpy() if isinstance(value, pa.ListScalar) else value.as_py()
