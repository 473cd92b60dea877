"""The preferences of several runs on the same prompts, and what is left of them at equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from rlhf.base.errors import UserError
from rlhf.evaluation.comparisons import Comparisons

Values = NDArray[np.float64]

ROUNDING = 1e-12
"""Mean square of a length feature, which is between -1 and 1, below which it is the same everywhere."""


@dataclass(frozen=True)
class Panel:
    """What a judge says about several policies on the prompts that all of them have."""

    preferences: Values
    """How far each policy is preferred to the reference, 0 to 1, mean over draws, (policies, prompts)."""
    lengths: Values
    """tanh of the standardized difference in length to the reference, mean over draws, (policies, prompts)."""


@dataclass(frozen=True)
class Slope:
    """What a response gains in preference for being longer."""

    value: float
    """Preference per unit of the length feature."""
    variance: float
    """Of `value`, prompts as clusters."""


def panel(compared: Sequence[Comparisons]) -> Panel:
    """Align comparisons with one reference by prompt; prompts that one of them lacks are left out.

    Raises:
        UserError: they have no prompt in common.
    """
    common = reduce(np.intersect1d, (found.prompts[0] for found in compared))
    if len(common) == 0:
        raise UserError("the policies have no prompt in common: give the comparisons on the same prompts")
    scale = np.concatenate([found.length_differences for found in compared]).std() or 1.0
    preferences, lengths = [], []
    for found in compared:
        names, counts = found.prompts
        kept = np.searchsorted(names, common)
        features = np.add.reduceat(np.tanh(found.length_differences / scale), np.cumsum(counts) - counts) / counts
        preferences.append(found.prompt_preferences[kept])
        lengths.append(features[kept])
    return Panel(np.stack(preferences), np.stack(lengths))


def length_slope(found: Panel) -> Slope:
    """Regress preferences on lengths, with an intercept for each policy and each prompt (two-way fixed effects).

    Only differences between policies on the same prompt, beyond those of their means, tell what length alone does: that
    a better policy writes more, or that a prompt asks for more, is not counted as an effect of length. The variance is
    that of Liang and Zeger (1986) with prompts as clusters.
    """
    length, preference = _centred(found.lengths), _centred(found.preferences)
    scale = float(np.square(length).sum())
    if scale <= ROUNDING * length.size:
        return Slope(0.0, 0.0)
    value = float((length * preference).sum()) / scale
    scores = (length * (preference - value * length)).sum(axis=0)
    return Slope(value, float(np.square(scores).sum()) / scale**2)


def at_equal_length(found: Panel, slope: Slope) -> Values:
    """Preferences as they would be if responses were as long as the reference's, (policies, prompts)."""
    return found.preferences - slope.value * found.lengths


def _centred(values: Values) -> Values:
    """Without the means of policies and of prompts."""
    centred = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return np.asarray(centred)
