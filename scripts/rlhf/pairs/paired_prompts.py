"""Prompts with one or several pairs, which are trained on together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import TOKEN_IDS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, Pair, PairTable
from rlhf.tokens.prompt_group import PromptGroup, TokenIds


class PairedPrompt(Protocol):
    """A prompt with its pairs, which are shuffled, batched and packed together; a `Pair` is such a prompt by itself."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def pairs(self) -> Sequence[Pair]:
        """At least one."""

    @property
    def prompt_group(self) -> PromptGroup:
        """The prompt with the responses of its pairs, each of them once."""

    @property
    def places(self) -> Sequence[tuple[int, int]]:
        """Of each pair, where its chosen and its rejected response are in `prompt_group`."""


@dataclass(frozen=True, eq=False)
class SeveralPairs:
    """A prompt with several pairs. Responses of the same token ids are one response of its group."""

    pairs: Sequence[Pair]

    @property
    def prompt_id(self) -> str:
        return self.pairs[0].prompt_id

    @property
    def prompt_group(self) -> PromptGroup:
        return PromptGroup(self.pairs[0].prompt_token_ids, list(self._responses.values()))

    @property
    def places(self) -> Sequence[tuple[int, int]]:
        order = {ids: place for place, ids in enumerate(self._responses)}
        return [(order[_as_key(pair.chosen_token_ids)], order[_as_key(pair.rejected_token_ids)]) for pair in self.pairs]

    @cached_property
    def _responses(self) -> dict[bytes, TokenIds]:
        """The distinct responses, in the order in which they occur."""
        found: dict[bytes, TokenIds] = {}
        for pair in self.pairs:
            for ids in (pair.chosen_token_ids, pair.rejected_token_ids):
                found.setdefault(_as_key(ids), ids)
        return found


def _as_key(ids: TokenIds) -> bytes:
    return np.asarray(ids, dtype=np.int32).tobytes()


STARTS = "starts_prompt"
"""Column of tables in memory: whether a row is the first one of its prompt. The other pairs of the prompt follow it."""


def with_starts(pairs: pa.Table) -> pa.Table:
    """The pairs of one file with the column `STARTS`; in tables of several files the next may begin with the prompt
    that the last one ends with."""
    names = pairs["prompt_id"].combine_chunks()
    starts = pc.not_equal(names[1:], names[:-1])
    return pairs.append_column(STARTS, pa.concat_arrays([pa.array([True] * min(1, len(pairs)), pa.bool_()), starts]))


class PairedPrompts(Sequence[PairedPrompt]):
    """The prompts of an Arrow table of pairs, each with its pairs.

    Args:
        table: as `PairTable`, with `STARTS`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.pairs = PairTable(table.drop_columns([STARTS]))
        self._bounds = np.append(np.flatnonzero(table[STARTS].to_numpy()), len(table)).tolist()

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> PairedPrompt: ...
    @overload
    def __getitem__(self, index: slice) -> list[PairedPrompt]: ...
    def __getitem__(self, index: int | slice) -> PairedPrompt | list[PairedPrompt]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        pairs = self.pairs[self._bounds[number] : self._bounds[number + 1]]
        return pairs[0] if len(pairs) == 1 else SeveralPairs(pairs)

    @property
    def unit(self) -> str:
        """What its members are called where they are counted."""
        return "pairs" if len(self) == len(self.pairs) else "prompts"

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with responses that are computed at once (see `undivided`); 0 without pairs."""
        return self._longest_and_largest[0]

    @property
    def largest(self) -> int:
        """Tokens of the largest prompt with the responses of all its pairs; 0 without pairs."""
        return self._longest_and_largest[1]

    @cached_property
    def _longest_and_largest(self) -> tuple[int, int]:
        if len(self) < len(self.pairs):
            groups = [(undivided(group), group.tokens) for group in (prompt.prompt_group for prompt in self)]
            return max(longest for longest, _ in groups), max(largest for _, largest in groups)
        columns = (name for name in PAIR_COLUMNS if PAIRS.schema.field(name).type == TOKEN_IDS)
        lengths = (pc.list_value_length(self.pairs.table[name]) for name in columns)
        longest = pc.max(reduce(pc.add, lengths)).as_py() or 0
        return longest, longest


def undivided(group: PromptGroup) -> int:
    """Tokens of a group that must be computed at once: all with two responses, else the prompt and the longest one."""
    if len(group.responses) <= 2:
        return group.tokens
    return len(group.prompt) + max(map(len, group.responses))
