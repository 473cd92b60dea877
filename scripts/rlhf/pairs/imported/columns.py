"""The columns of a dataset of pairs: of anyone's, and of the pipeline's own."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.datasets.files import require_columns
from rlhf.pairs.imported.settings import ImportedPairSettings, ImportPairsSpec

OWN_COLUMNS = ("prompt_id", "chosen_draw", "rejected_draw")
"""Columns that say that the pipeline made these pairs: their prompts are matched by ID."""
IDS = ("chosen_token_ids", "rejected_token_ids")
WINS = ("chosen_win_probability", "rejected_win_probability")


def require_pair_columns(
    there: Sequence[str], wanted: ImportedPairSettings | ImportPairsSpec, column: str, where: str
) -> None:
    """Raise UserError, with the key that names it, if a column is missing.

    Args:
        there: column names of the dataset.
        column: the column with the prompts.
    """
    remedies = {
        "column": ([] if is_own(there) else [column], "Set it to the column with the prompts."),
        "chosen": ([wanted.chosen], "Set it to the column with the chosen responses."),
        "rejected": ([wanted.rejected], "Set it to the column with the rejected responses."),
        "chosen_score": (
            [name for name in (wanted.chosen_score, wanted.rejected_score) if name is not None],
            "Set it and `rejected_score` to the columns with the rewards, or both to null.",
        ),
    }
    for key, (columns, remedy) in remedies.items():
        require_columns(there, columns, f"pairs.imported.{key}: {where}", remedy)


def is_own(there: Sequence[str]) -> bool:
    """Whether the pipeline itself made the pairs with these columns."""
    return set(OWN_COLUMNS) <= set(there)
