"""Confidence intervals by resampling prompts."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def bootstrap_interval(values: NDArray[np.float64], samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, chapter 13).

    Equal seeds draw equal resamples, so that intervals of several policies on the same prompts are comparable.

    Args:
        values: one value per prompt, shape (prompts,).
        samples: number of resamples.
        confidence: level of the interval, 0.95 for 95 %.
    """
    if len(values) == 1:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=samples,
        batch=1,  # one resample in memory at a time
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
