"""The test responses of a policy with their scores, read from their files."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rlhf.base.artifacts import ArtifactError
from rlhf.responses.schema import RESPONSES, read_lengths
from rlhf.rewards.schema import REWARDS

KEY = list(RESPONSES.key)
TRUNCATED = "length"
"""The finish reason of a response that was cut."""


@dataclass(frozen=True)
class ScoredResponses:
    """Scored draws of the test prompts as an Arrow table, ordered by prompt_id and draw."""

    prompt_ids: pa.Array
    """Of the prompts, string (prompts,), ascending."""
    counts: NDArray[np.int64]
    """Draws of each prompt, (prompts,), none 0."""
    draws: pa.Table
    """One row per draw: `draw`, `characters` and `tokens` (int32, end-of-turn token included) without hidden thoughts,
    `truncated` (bool), and `reward` and `invalid` of `REWARDS`."""

    def valid(self) -> pa.Array:
        """The scores that are not null, float32."""
        return self.draws["reward"].combine_chunks().drop_null()


def read_scored_responses(
    responses: Sequence[Path], scores: Mapping[str, Sequence[Path]]
) -> dict[str, ScoredResponses]:
    """Read the draws of each prompt with their scores, by scorer; of texts and token ids only the lengths are kept.

    Args:
        scores: reward or judgement files that cover all the responses.

    Raises:
        ArtifactError: a file is not what it should be, a draw occurs twice, or a draw lacks its score or its response.
    """
    answered = _ordered(responses, _measured)
    runs = pc.run_end_encode(answered["prompt_id"].combine_chunks())
    counts = np.diff(runs.run_ends.to_numpy(), prepend=0).astype(np.int64)
    found = {}
    for judge, paths in scores.items():
        scored = _ordered(paths, lambda path: REWARDS.read(path, [*KEY, "reward", "invalid"]))
        if not answered.select(KEY).equals(scored.select(KEY)):
            _require(scored, answered, responses, "response")
            _require(answered, scored, paths, "score")
        draws = answered.drop_columns("prompt_id")
        for name in ("reward", "invalid"):
            draws = draws.append_column(name, scored[name])
        found[judge] = ScoredResponses(runs.values, counts, draws)
    return found


def _measured(path: Path) -> pa.Table:
    """Rows of `RESPONSES` with lengths in place of texts and token ids."""
    table = read_lengths(path)
    truncated = pc.equal(table["finish_reason"], TRUNCATED)
    return table.drop_columns("finish_reason").append_column("truncated", truncated)


def _ordered(paths: Sequence[Path], read: Callable[[Path], pa.Table]) -> pa.Table:
    """Rows of several files, sorted by key. Text columns are dictionary-encoded: `invalid` has few values."""
    tables = [read(path) for path in paths]
    rows = pa.concat_tables(tables).combine_chunks()
    if "invalid" in rows.column_names:
        rows = rows.set_column(rows.column_names.index("invalid"), "invalid", rows["invalid"].dictionary_encode())
    order = pc.sort_indices(rows, [(name, "ascending") for name in KEY])
    table = rows.take(order)
    again = pc.and_(*(pc.equal(table[name][1:], table[name][:-1]) for name in KEY))
    if (place := pc.index(again, True).as_py()) >= 0:
        row = max(order[place].as_py(), order[place + 1].as_py())
        path = paths[bisect_right(list(accumulate(map(len, tables))), row)]
        prompt_id, draw = (table[name][place].as_py() for name in KEY)
        raise ArtifactError(f"{path}: prompt_id={prompt_id!r}, draw={draw} is in another file too")
    return table


def _require(wanted: pa.Table, found: pa.Table, where: Sequence[Path], what: str) -> None:
    """Raise ArtifactError unless `found` has every key of `wanted`."""
    missing = wanted.select(KEY).join(found.select(KEY), keys=KEY, join_type="left anti")
    if len(missing):
        first = missing.sort_by([(name, "ascending") for name in KEY]).slice(0, 1).to_pylist()[0]
        raise ArtifactError(
            f"{', '.join(map(str, where))}: no {what} of prompt_id={first['prompt_id']!r}, draw={first['draw']} (and "
            f"of {len(missing) - 1} others). Give the responses and the scores of the same parts."
        )
