"""Pairs from the rows of a dataset: matched to prompts, and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rlhf.pairs.imported.columns import IDS, OWN_COLUMNS, WINS, is_own, require_pair_columns
from rlhf.pairs.imported.reader import DROP_REASONS, RowReader
from rlhf.pairs.imported.responses import Encoder
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.schema import PAIRS, UNSCORED_PAIRS
from rlhf.prompts.schema import Prompt, identity_of

if TYPE_CHECKING:
    from datasets import Dataset

NO_ROW = "no_row"
"""Why a prompt has no pair that the dataset does not hold; others have the reason of their first row."""
ROWS_AT_ONCE = 1000


@dataclass
class ImportedPairs:
    """The pairs of a part, as rows of `PAIRS` or `UNSCORED_PAIRS` in the order of the prompts, and counts."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    prompts: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys((NO_ROW, *DROP_REASONS), 0))
    duplicate_rows: int = 0
    """Further rows of the same prompts."""
    encoded_again: int = 0
    """Pairs of another run whose token ids are not those of this tokenizer."""

    @property
    def counts(self) -> dict[str, object]:
        """Counts for the provenance: each of the `prompts` has one of the `pairs` or was `dropped`."""
        return {
            "prompts": self.prompts,
            "pairs": len(self.rows),
            "dropped": self.dropped,
            "duplicate_rows": self.duplicate_rows,
            "encoded_again": self.encoded_again,
        }


def read_pairs(
    dataset: Dataset, prompts: Sequence[Prompt], token_ids: pa.ChunkedArray, spec: ImportPairsSpec, encoder: Encoder
) -> ImportedPairs:
    """The pairs of some prompts: of each one the first row that makes a pair.

    Args:
        token_ids: of the prompts, `TOKEN_IDS`.

    Raises:
        UserError: a column is missing, or a value has the wrong type or is not finite; names the rows.
    """
    there = dataset.column_names
    require_pair_columns(there, spec, spec.column, spec.dataset)
    matched = match_rows(dataset, [prompt.prompt_id for prompt in prompts], spec)
    names = [spec.chosen, spec.rejected, *spec.scores]
    if is_own(there):
        names += [name for name in (*OWN_COLUMNS, *IDS, *(WINS if spec.scores else ())) if name in there]
    reader = RowReader(spec, encoder, own=IDS[0] in names)
    found = ImportedPairs(prompts=len(prompts))
    rows = iter(taken_rows(dataset, names, [row for rows in matched.values() for row in rows]))
    for prompt, ids in zip(prompts, token_ids, strict=True):
        own = matched[prompt.prompt_id]
        prompt_ids = ids.values.to_numpy()
        outcomes = [reader.read(row, next(rows), prompt, prompt_ids) for row in own]
        pair = next((outcome for outcome in outcomes if not isinstance(outcome, str)), None)
        found.duplicate_rows += max(0, len(own) - 1)
        if pair is None:
            found.dropped[str(outcomes[0]) if outcomes else NO_ROW] += 1
            continue
        found.encoded_again += pair.pop("encoded_again")
        found.rows.append({"prompt_id": prompt.prompt_id, "prompt_token_ids": prompt_ids, **pair})
    reader.wrong.refuse(spec.dataset, "response or score")
    return found


def pair_table(found: ImportedPairs, spec: ImportPairsSpec) -> pa.Table:
    """The pairs as a table of `PAIRS`, or of `UNSCORED_PAIRS` where there are no scores."""
    return pa.Table.from_pylist(found.rows, schema=(PAIRS if spec.scores else UNSCORED_PAIRS).schema)


def match_rows(dataset: Dataset, identities: Sequence[str], spec: ImportPairsSpec) -> dict[str, list[int]]:
    """The dataset's rows of each prompt, in the order of the prompts; rows of other prompts are left out."""
    rows: dict[str, list[int]] = {identity: [] for identity in identities}
    own = is_own(dataset.column_names)
    for row, value in enumerate(dataset["prompt_id" if own else spec.column]):
        identity = value if own else identity_of(value, spec.turns, spec.template)
        if identity in rows:
            rows[identity].append(row)
    return rows


def taken_rows(dataset: Dataset, names: Sequence[str], rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Some columns of some rows, one row after the other."""
    selected = dataset.select_columns(list(dict.fromkeys(names)))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        columns = selected[list(rows[start : start + ROWS_AT_ONCE])]
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))
