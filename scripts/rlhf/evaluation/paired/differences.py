"""The difference between two groups of runs on the same prompts, with what may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rlhf.evaluation.paired.panel import Panel, Slope, at_equal_length

Values = NDArray[np.float64]
Runs = Sequence[int]
"""Rows of a panel: runs of the same settings with different seeds."""


@dataclass(frozen=True)
class RunNoise:
    """How much the mean preference varies between runs that differ in their seed alone."""

    variance: float
    """Estimated without the part that the choice of the prompts explains; 0 where it is less than that."""
    observed: float
    """Between the runs, prompts included."""
    degrees: int
    """Degrees of freedom: runs less settings; 0 where each setting has one run."""


@dataclass(frozen=True)
class Difference:
    """By how much the mean preference of one group exceeds that of another."""

    value: float
    error: float
    """Standard error."""
    degrees: float
    """Degrees of freedom of the t distribution; 0 where one prompt cannot tell the error."""

    @property
    def p_value(self) -> float:
        """Of the one-sided test that the first group is better; 1 where nothing tells."""
        if self.degrees == 0:
            return 1.0
        if self.error == 0:
            return 0.0 if self.value > 0 else 1.0
        return float(stats.t.sf(self.value / self.error, self.degrees))

    @property
    def two_sided_p_value(self) -> float:
        """Of the test that both groups are equally good."""
        if self.degrees == 0 or (self.error == 0 and self.value == 0):
            return 1.0
        return 0.0 if self.error == 0 else 2 * float(stats.t.sf(abs(self.value) / self.error, self.degrees))

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Two-sided interval of `value`; None where there is no error."""
        if self.degrees == 0:
            return None
        width = self.error * float(stats.t.ppf((1 + confidence) / 2, self.degrees))
        return self.value - width, self.value + width


def run_noise(values: Values, groups: Sequence[Runs]) -> RunNoise:
    """The variance between runs of one setting, pooled over the settings: a two-way analysis of variance.

    The mean square between the runs of a setting estimates V + E / P, with V the variance between runs, E that of the
    interaction of run and prompt, and P the number of prompts (Searle, Casella, McCulloch 1992, chapter 4).

    Args:
        values: preferences at equal length, (runs, prompts).
        groups: the runs of each setting.
    """
    degrees = sum(len(runs) - 1 for runs in groups)
    prompts = values.shape[1]
    if degrees == 0 or prompts == 1:
        return RunNoise(0.0, 0.0, 0)
    between = within = 0.0
    for runs in groups:
        block = values[list(runs)]
        deviations = block.mean(axis=1) - block.mean()
        between += float(np.square(deviations).sum())
        within += float(np.square(block - block.mean(axis=0) - deviations[:, None]).sum())
    observed = between / degrees
    residual = within / (degrees * (prompts - 1))
    return RunNoise(max(0.0, observed - residual / prompts), observed, degrees)


def difference(found: Panel, slope: Slope, one: Runs, other: Runs, noise: RunNoise) -> Difference:
    """The difference of two groups at equal length, paired by prompt.

    Its variance has three parts: that of the prompts' differences, which holds the noise of sampling and judging; that
    of the runs; and that of the slope. Degrees of freedom by Satterthwaite (1946).
    """
    (values, length), (other_values, other_length) = (_of_group(found, slope, runs) for runs in (one, other))
    differences, prompts = values - other_values, found.preferences.shape[1]
    value = float(differences.mean())
    if prompts == 1:
        return Difference(value, 0.0, 0)
    of_prompts = float(differences.var(ddof=1)) / prompts
    of_runs = noise.variance * (1 / len(one) + 1 / len(other))
    of_slope = (length - other_length) ** 2 * slope.variance
    total = of_prompts + of_runs + of_slope
    parts = np.square(of_prompts + of_slope) / (prompts - 1)
    if of_runs:
        parts += np.square(noise.observed * (1 / len(one) + 1 / len(other))) / noise.degrees
    return Difference(value, float(np.sqrt(total)), float(total**2 / parts) if parts else float(prompts - 1))


def _of_group(found: Panel, slope: Slope, runs: Runs) -> tuple[Values, float]:
    """Preferences of a group at equal length, mean over its runs, (prompts,); and its mean length feature."""
    group = Panel(found.preferences[list(runs)], found.lengths[list(runs)])
    return at_equal_length(group, slope).mean(axis=0), float(group.lengths.mean())


def corrected(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979): the chance of a false finding among all of them keeps its level.

    The smallest of m is multiplied by m, the next one by m - 1, and so on; none may be below the one before it.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    found = np.empty_like(values)
    found[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return [float(value) for value in found]
