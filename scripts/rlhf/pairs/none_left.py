"""A part of which no prompt has a pair: the main cause, and the key of the configuration behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf.base.errors import UserError
from rlhf.pairs.settings import PairSpec

FEW_PROMPTS = 20
"""In a part of fewer it may be chance: training goes on with the pairs of the others."""
REMEDIES = {
    "truncated": "were cut at the length limit: raise `responses.max_tokens`",
    "too_long": "are longer than what is scored: raise `rewards.max_tokens`",
    "no_reward": "have no reward: see what `rewards.function` returns, or the rewards of `responses.imported.dataset`",
}
"""Why a response is no candidate."""


def require_pairs(counts: Mapping[str, Any], spec: PairSpec, where: str) -> None:
    """Stop where no prompt of a part has a pair: nothing could be learnt from it, and what follows would be in vain.

    Args:
        counts: what `build_pairs` counts.
        where: the pairs' file, for the message.

    Raises:
        UserError: with the main cause and its key.
    """
    if counts["pairs"] or counts["prompts"] < FEW_PROMPTS:
        return
    dropped, candidates = counts["dropped"], counts["candidates_dropped"]
    reason = max(dropped, key=dropped.__getitem__)
    share = f"{dropped[reason]} of {counts['prompts']} prompts"
    if reason == "no_two_candidates" and candidates:
        cause = max(candidates, key=candidates.__getitem__)
        remedy = REMEDIES.get(cause, f"have no reward ({cause}): see `rewards`")
        said = f"{share} have no two responses to choose from: {candidates[cause]} responses {remedy}"
    elif reason == "no_two_candidates":
        said = f"{share} have fewer than two responses: raise `responses.draws`, or bring more (`responses.imported`)"
    elif reason == "below_margin":
        said = f"the margins of {share} are below {spec.min_margin}: lower `pairs.min_margin`"
    else:
        said = (
            f"all responses to {share} are equal, or have equal rewards: see what `rewards` gives, and raise "
            "`responses.temperature` where the responses are the same"
        )
    raise UserError(f"{where}: no prompt has a pair. {said}.")
