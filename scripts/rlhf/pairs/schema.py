"""The schema of preference pairs, and its rows as objects."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import TOKEN_IDS, Artifact, ArtifactError, find_provenance, table_schema
from rlhf.tokens.prompt_group import PromptGroup, TokenIds

PAIRS = Artifact(
    "pairs",
    table_schema(
        {
            "prompt_id": pa.string(),
            "prompt_token_ids": TOKEN_IDS,
            "chosen_token_ids": TOKEN_IDS,
            "rejected_token_ids": TOKEN_IDS,
            "chosen_draw": pa.int32(),
            "rejected_draw": pa.int32(),
            "chosen_reward": pa.float32(),
            "rejected_reward": pa.float32(),
            "chosen_win_probability": pa.float32(),
            "rejected_win_probability": pa.float32(),
            "chosen": pa.string(),
            "rejected": pa.string(),
        }
    ),
    key=("prompt_id",),
)


POOLED_PAIRS = Artifact(
    PAIRS.name,
    PAIRS.schema.append(pa.field("chosen_policy", pa.string(), nullable=False)).append(
        pa.field("rejected_policy", pa.string(), nullable=False)
    ),
    PAIRS.key,
)
"""Pairs of the responses of several policies: also says whose each response is. Draws are those of that policy."""


REWARD_COLUMNS = [field.name for field in PAIRS.schema if field.type == pa.float32()]
UNSCORED_PAIRS = Artifact(
    PAIRS.name, pa.schema([field.with_nullable(field.name in REWARD_COLUMNS) for field in PAIRS.schema]), PAIRS.key
)
"""Imported pairs without scores: their rewards and win probabilities are null."""
SIDES = ("chosen", "rejected")


def artifact_of_pairs(*, pooled: bool, per_prompt: int) -> Artifact:
    """The schema of pairs; with several per prompt, the two draws belong to the key, and whose they are if pooled."""
    artifact = POOLED_PAIRS if pooled else PAIRS
    if per_prompt == 1:
        return artifact
    names = [f"{side}_{name}" for side in SIDES for name in (("policy", "draw") if pooled else ("draw",))]
    return Artifact(artifact.name, artifact.schema, (*artifact.key, *names))


def pair_artifact(path: Path) -> Artifact:
    """The schema of a file of pairs: of the responses of one policy, or of several; one pair per prompt, or several; or
    imported without scores."""
    spec = (find_provenance(path) or {}).get("spec", {}) if path.is_file() else {}
    if "chosen_score" in spec and spec["chosen_score"] is None:
        return UNSCORED_PAIRS
    return artifact_of_pairs(pooled=bool(spec.get("pool")), per_prompt=spec.get("per_prompt", 1))


def read_pair_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read pairs, of whichever schema.

    Rewards that there are none of are NaN, so that all files of pairs have the same types.

    Raises:
        ArtifactError, DamagedError: as for `Artifact.read`.
    """
    artifact = pair_artifact(path)
    table = artifact.read(path, columns)
    if artifact is not UNSCORED_PAIRS:
        return table
    filled = [
        pc.fill_null(column, math.nan) if name in REWARD_COLUMNS else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(filled, pa.schema([PAIRS.schema.field(name) for name in table.column_names]))


def require_rewards(table: pa.Table, loss: str) -> None:
    """Raise ArtifactError if a pair has no rewards.

    Args:
        table: what `read_pair_table` returns.
        loss: the loss that needs them, for the message.
    """
    unscored = pc.sum(pc.is_nan(table["chosen_reward"])).as_py() or 0
    if unscored:
        raise ArtifactError(
            f"{loss} learns from rewards, and {unscored} of {len(table)} pairs have none: they were imported without "
            "scores. Name their columns (`pairs.imported.chosen_score`, `rejected_score`), or take another loss."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A row of `PAIRS`, without texts and draws, and its reference log-probabilities from `LOGPROBS`.

    Token ids are int32 (tokens,), end-of-turn token included.
    """

    prompt_id: str
    prompt_token_ids: TokenIds
    chosen_token_ids: TokenIds
    rejected_token_ids: TokenIds
    chosen_reward: float
    rejected_reward: float
    chosen_win_probability: float
    rejected_win_probability: float
    chosen_logprob: float = math.nan
    """NaN if the loss needs no reference, so that a loss that reads it anyway fails visibly."""
    rejected_logprob: float = math.nan

    @property
    def prompt_group(self) -> PromptGroup:
        """The prompt with its two responses, the chosen one first."""
        return PromptGroup(self.prompt_token_ids, [self.chosen_token_ids, self.rejected_token_ids])

    @property
    def pairs(self) -> Sequence[Pair]:
        """As a prompt with one pair: itself."""
        return (self,)

    @property
    def places(self) -> Sequence[tuple[int, int]]:
        """Where its chosen and its rejected response are in `prompt_group`."""
        return ((0, 1),)


PAIR_COLUMNS = [field.name for field in fields(Pair) if field.name in PAIRS.schema.names]
"""Columns of `PAIRS` that a `Pair` holds."""
REFERENCE_COLUMNS = [field.name for field in fields(Pair) if field.name not in PAIRS.schema.names]
"""Columns of `LOGPROBS` that a `Pair` holds, if its loss needs a reference."""


Row = TypeVar("Row")


class RowTable(Sequence[Row]):
    """The rows of an Arrow table as objects. Each is created on access; its token ids are views into the table."""

    row: Callable[..., Row]
    """Makes an object of the columns."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._batches = table.to_batches()
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        row = range(len(self))[index]
        place = bisect_right(self._ends, row)
        batch = self._batches[place]
        values = (column[row - self._ends[place] + batch.num_rows] for column in batch.columns)
        return self.row(**{name: _plain(value) for name, value in zip(batch.schema.names, values, strict=True)})


class PairTable(RowTable[Pair]):
    """The pairs of an Arrow table.

    Args:
        table: `PAIR_COLUMNS`, and `REFERENCE_COLUMNS` or none of them.
    """

    row = Pair


def _plain(value: pa.Scalar) -> Any:
    """A string, a number, or a NumPy view of a list."""
    return value.values.to_numpy() if isinstance(value, pa.ListScalar) else value.as_py()
