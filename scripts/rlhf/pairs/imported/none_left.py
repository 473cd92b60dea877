"""An error for a train part without a single imported pair, which names the main cause and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf.base.errors import UserError
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.none_left import FEW_PROMPTS

REMEDIES = {
    "no_row": "are not in the dataset: collect the prompts from it (`prompts.dataset`), or check "
    "`pairs.imported.column`, `subset` and `split`",
    "missing": "have a chosen or rejected response that is null or white space: check `pairs.imported.chosen` and "
    "`rejected`",
    "other_prompt": "have a conversation with another prompt: check `pairs.imported.column`, `chosen` and `rejected`",
    "no_score": "have no scores: check `pairs.imported.chosen_score` and `rejected_score`, or set both to null",
    "identical": "have a chosen response that is also the rejected one: check `pairs.imported.chosen` and `rejected`",
    "too_long": "have a response of more than `responses.max_tokens`: raise it",
    "truncated": "have a response that ends in the middle of a thought: check `responses.hide`",
    "tie": "have equal scores: check `pairs.imported.chosen_score` and `rejected_score`",
    "reversed": "have a rejected response with the higher score: exchange `pairs.imported.chosen` and `rejected`",
    "below_margin": "have scores with a margin below `pairs.min_margin`: lower it",
}
"""What is wrong and what to do, by the reason why prompts have no pair."""


def require_imported_pairs(counts: Mapping[str, Any], spec: ImportPairsSpec) -> None:
    """Stop if no prompt of a train part has a pair: there would be nothing to train on.

    A part of test prompts may have none: the dataset need not hold them, and training goes on without validation.

    Args:
        counts: counts of `ImportedPairs`.

    Raises:
        UserError: names the main cause and its setting.
    """
    if counts["pairs"] or counts["prompts"] < FEW_PROMPTS or spec.rows.start < 0:
        return
    reason = max(counts["dropped"], key=counts["dropped"].__getitem__)
    raise UserError(
        f"{spec.dataset}: no prompt has a pair. {counts['dropped'][reason]} of {counts['prompts']} prompts "
        f"{REMEDIES[reason]}."
    )
