"""Which points of a sweep are promoted, and whether anything speaks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.settings import canonical_json
from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.paired.differences import Difference, Runs, corrected, difference, run_noise
from rlhf.evaluation.paired.panel import Panel, at_equal_length, length_slope, panel
from rlhf.evaluation.paired.settings import ChooseSpec


def choose(spec: ChooseSpec, compared: Mapping[str, Comparisons]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compare every point with the default, and rank them.

    Points that are significantly better come first, then the default, then all others: without evidence, nothing is
    better than what the user would have trained anyway.

    Args:
        compared: comparisons with `base` on the selection prompts, by policy.

    Returns:
        A row of `SWEEP` per point, and what else there is to know: `significant` points, the standard deviation of the
        win rate between runs (null where each point has one), and the effect of length.

    Raises:
        UserError: a policy has no comparisons.
    """
    together, groups = _panel(spec, compared)
    slope = length_slope(together)
    values = at_equal_length(together, slope)
    noise = run_noise(values, groups)
    others = [place for place in range(len(groups)) if place != spec.default]
    found = {place: difference(together, slope, groups[place], groups[spec.default], noise) for place in others}
    p_values = dict(zip(others, corrected([found[place].p_value for place in others]), strict=True))
    significant = {place for place in others if p_values[place] < 1 - spec.confidence}
    ranks = _ranks(spec, {place: found[place].value for place in others}, significant)
    rows = [
        {
            "point": place,
            "name": point.name,
            "changes": canonical_json(point.changes),
            "runs": len(groups[place]),
            "prompts": values.shape[1],
            "win_rate": float(together.preferences[list(groups[place])].mean()),
            "length_controlled_win_rate": float(values[list(groups[place])].mean()),
            **_to_default(found.get(place), spec.confidence),
            "corrected_p_value": p_values.get(place),
            "default": place == spec.default,
            "promoted": ranks.get(place),
        }
        for place, point in enumerate(spec.points)
    ]
    return rows, {
        "significant": len(significant),
        "run_deviation": noise.variance**0.5 if noise.degrees else None,
        "length_effect": slope.value,
    }


def _panel(spec: ChooseSpec, compared: Mapping[str, Comparisons]) -> tuple[Panel, list[Runs]]:
    """All policies on their common prompts, and the rows of each point."""
    missing = [policy for point in spec.points for policy in point.policies if policy not in compared]
    if missing:
        raise UserError(f"no comparisons of {', '.join(missing)} by {spec.judge!r}: give those of every policy")
    groups: list[Runs] = []
    for point in spec.points:
        start = groups[-1][-1] + 1 if groups else 0
        groups.append(range(start, start + len(point.policies)))
    return panel([compared[policy] for point in spec.points for policy in point.policies]), groups


def _to_default(found: Difference | None, confidence: float) -> dict[str, float | None]:
    """The difference to the default point; null for the default itself."""
    if found is None:
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p_value"))
    low, high = found.interval(confidence) or (None, None)
    return {"difference": found.value, "difference_low": low, "difference_high": high, "p_value": found.p_value}


def _ranks(spec: ChooseSpec, differences: Mapping[int, float], significant: set[int]) -> dict[int, int]:
    """Rank, from 1, of the points to promote."""
    best_first = sorted(differences, key=lambda place: (-differences[place], place))
    order = [place for place in best_first if place in significant]
    order += [spec.default, *(place for place in best_first if place not in significant)]
    return {place: rank for rank, place in enumerate(order[: spec.promote], start=1)}
