"""One reward from several scorers: the weighted mean of their standardized scores."""

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
    """Mean and standard deviation (of the population) of a scorer's scores."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, rewards: Sequence[float | None], where: Path) -> Scale:
        """Raises UserError where the scores that are not null are fewer than two or all equal."""
        scores = [reward for reward in rewards if reward is not None]
        deviation = statistics.pstdev(scores) if len(scores) > 1 else 0.0
        if deviation == 0:
            raise UserError(
                f"{where}: among its {len(scores)} scores no two are different, so they cannot be standardized: this "
                "scorer tells no response from another. Take it out of `rewards.scorers`, or mend it."
            )
        return cls(statistics.fmean(scores), deviation)


def combine(
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    scales: Mapping[str, Scale],
    weights: Mapping[str, float],
    paths: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Rows of `REWARDS`: sum_k w_k z_k / sum_k w_k with z_k = (score_k - mean_k) / deviation_k, by scorer k.

    The objectives are the z_k in the order of `weights`. Where a scorer has no score, there is no reward and the reason
    is `<scorer>:<its reason>`.

    Args:
        scores: rows of `REWARDS` of the same responses, by scorer.
        paths: their files, for messages.

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
