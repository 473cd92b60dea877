"""Which policies are significantly better than which, all of them compared on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np

from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.paired.differences import RunNoise, corrected, difference
from rlhf.evaluation.paired.panel import Slope, length_slope, panel

BASE = "base"
AS_THEY_ARE = RunNoise(0.0, 0.0, 0)
"""The policies themselves are compared, not other trainings with the same settings."""
NO_CONTROL = Slope(0.0, 0.0)


@dataclass(frozen=True)
class Ranking:
    """What all pairs of policies say, `base` among them."""

    prompts: int
    """That all policies have."""
    better_than: dict[str, int]
    """How many of the others each policy is significantly better than, by its win rate."""
    length_controlled_better_than: dict[str, int]
    """The same at equal length."""


def ranking(compared: Mapping[str, Comparisons], confidence: float) -> Ranking | None:
    """Compare every policy with every other one, and with `base`, paired by prompt; None without a common prompt.

    Two-sided tests, corrected for the number of pairs: the chance that any policy is said to be better than another one
    without being so is at most 1 - confidence.
    """
    names = [BASE, *compared]
    prompts = reduce(np.intersect1d, (found.prompts[0] for found in compared.values()))
    if len(prompts) == 0:
        return None
    # Against itself, base wins half of its comparisons, at no difference in length.
    itself = Comparisons(prompts, np.full(len(prompts), 0.5), np.zeros(len(prompts)))
    together = panel([itself, *compared.values()])
    counts = []
    for slope in (NO_CONTROL, length_slope(together)):
        pairs = list(combinations(range(len(names)), 2))
        found = [difference(together, slope, [one], [other], AS_THEY_ARE) for one, other in pairs]
        p_values = corrected([one.two_sided_p_value for one in found])
        better = dict.fromkeys(names, 0)
        for (one, other), tested, p_value in zip(pairs, found, p_values, strict=True):
            if p_value < 1 - confidence:
                better[names[one if tested.value > 0 else other]] += 1
        counts.append(better)
    return Ranking(len(prompts), *counts)
