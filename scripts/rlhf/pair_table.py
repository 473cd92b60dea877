"""Pairs as they lie in their files, in Arrow: a row becomes Python objects when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

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
    """Rows of a table. Each is made anew at every access: 4 bytes for a token in Arrow are 40 as a Python object."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

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
        return self._table.slice(range(len(self))[index], 1).to_pylist()[0]
