"""An error for parts without a single pair, which names the main cause and the setting behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf.base.errors import UserError
from rlhf.pairs.settings import PairSpec

FEW_PROMPTS = 20
"""In a smaller part it may be chance, and training continues with the pairs of the other parts."""
REMEDIES = {
    "truncated": "were truncated at the length limit: raise `responses.max_tokens`",
    "too_long": "are too long to be scored: raise `rewards.max_tokens`",
    "no_reward": "have no reward: check what `rewards` returns, or the rewards in `responses.imported.dataset`",
}
"""What to do, by the reason why responses are not candidates."""


def require_pairs(counts: Mapping[str, Any], spec: PairSpec, where: str) -> None:
    """Stop if no prompt of a part has a pair: there would be nothing to train on.

    Args:
        counts: counts of `Pairs`.
        where: the file of the pairs, for the message.

    Raises:
        UserError: names the main cause and its setting.
    """
    if counts["pairs"] or counts["prompts"] < FEW_PROMPTS:
        return
    dropped, candidates = counts["dropped"], counts["candidates_dropped"]
    reason = max(dropped, key=dropped.__getitem__)
    share = f"{dropped[reason]} of {counts['prompts']} prompts"
    if reason == "no_two_candidates" and candidates:
        cause = max(candidates, key=candidates.__getitem__)
        remedy = REMEDIES.get(cause, f"have no reward ({cause}): check `rewards`")
        said = f"{share} have no two responses to choose from: {candidates[cause]} responses {remedy}"
    elif reason == "no_two_candidates":
        said = f"{share} have fewer than two responses: raise `responses.draws`, or import more (`responses.imported`)"
    elif reason == "below_margin":
        said = f"the margins of {share} are below {spec.min_margin}: lower `pairs.min_margin`"
    else:
        said = (
            f"all responses to {share} are equal or have equal rewards: check the output of `rewards`, or raise "
            "`responses.temperature` if the responses themselves are equal"
        )
    raise UserError(f"{where}: no prompt has a pair. {said}.")
