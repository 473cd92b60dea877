"""Combining several scorers: the reward is the weighted mean of their standardized scores."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import ArtifactError
from rlhf.base.errors import UserError

Key = tuple[str, int]
"""prompt_id and draw."""


@dataclass(frozen=True)
class Scale:
    """Mean and population standard deviation of a scorer's scores."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Sequence[float | None], where: Path) -> Scale:
        """The scale of the scores that are not null.

        Raises:
            UserError: there are fewer than two, or all are equal.
        """
        known = [score for score in scores if score is not None]
        deviation = statistics.pstdev(known) if len(known) > 1 else 0.0
        if deviation == 0:
            raise UserError(
                f"{where}: its {len(known)} scores are all equal, so they cannot be standardized: this scorer does not "
                "distinguish responses. Fix it, or remove it from `rewards.scorers`."
            )
        return cls(statistics.fmean(known), deviation)


def combine(
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    scales: Mapping[str, Scale],
    weights: Mapping[str, float],
    paths: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Rows of `REWARDS`: sum_k w_k z_k / sum_k w_k with z_k = (score_k - mean_k) / deviation_k, over the scorers k.

    The objectives are the z_k, in the order of `weights`. A response without a score from one of the scorers has no
    reward; the reason is `<scorer>:<reason>`.

    Args:
        scores: by scorer, rows of `REWARDS` of the same responses.
        paths: by scorer, the file of the scores, for messages.

    Raises:
        ArtifactError: the files are not of the same responses.
    """
    names = list(weights)
    by_key = {name: {(row["prompt_id"], row["draw"]): row for row in scores[name]} for name in names}
    first = by_key[names[0]]
    for name in names[1:]:
        if different := first.keys() ^ by_key[name].keys():
            prompt_id, draw = min(different)
            raise ArtifactError(
                f"{paths[name]} and {paths[names[0]]}: only one of them has prompt_id={prompt_id!r}, draw={draw}"
            )
    return [_combined(key, {name: by_key[name][key] for name in names}, scales, weights) for key in first]


def _combined(
    key: Key, rows: Mapping[str, Mapping[str, Any]], scales: Mapping[str, Scale], weights: Mapping[str, float]
) -> dict[str, Any]:
    invalid = [f"{name}:{row['invalid']}" for name, row in rows.items() if row["reward"] is None]
    reward, standardized = None, None
    if not invalid:
        standardized = [(row["reward"] - scales[name].mean) / scales[name].deviation for name, row in rows.items()]
        weighted = math.fsum(weight * score for weight, score in zip(weights.values(), standardized, strict=True))
        reward = weighted / math.fsum(weights.values())
    return {
        "prompt_id": key[0],
        "draw": key[1],
        "reward": reward,
        "invalid": invalid[0] if invalid else None,
        "objectives": standardized,
    }
