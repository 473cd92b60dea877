"""How hard each prompt is for a policy to win, estimated from other policies."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from rlhf.evaluation.comparisons import Comparisons

Values = NDArray[np.float64]

SUREST = 0.99
"""Preferences are clipped to [1 - SUREST, SUREST] before the logit."""


def prompt_difficulty(prompts: NDArray[np.str_], others: Iterable[Comparisons]) -> tuple[Values, int]:
    """The difficulty of each prompt: the mean of the other policies' standardized logit preferences.

    Each policy counts the same, however often it wins. High values are prompts on which others win.

    Args:
        prompts: those of the policy in question, ascending, shape (prompts,).
        others: comparisons of other policies with the same reference.

    Returns:
        Difficulties of mean 0 and standard deviation 1, shape (prompts,), 0 for prompts that no other policy has; and
        the number of policies behind them. All zero and 0 if no other policy tells prompts apart.
    """
    total, seen, policies = np.zeros(len(prompts)), np.zeros(len(prompts)), 0
    for other in others:
        names, _ = other.prompts
        values = logit(np.clip(other.prompt_preferences, 1 - SUREST, SUREST))
        common, ours, theirs = np.intersect1d(prompts, names, assume_unique=True, return_indices=True)
        if len(common) == 0 or values[theirs].std() == 0:
            continue
        total[ours] += _standardized(values[theirs])
        seen[ours] += 1
        policies += 1
    known = seen > 0
    mean = np.divide(total, seen, out=np.zeros(len(prompts)), where=known)
    if mean.std() == 0:
        return np.zeros(len(prompts)), 0
    mean[known] -= mean[known].mean()
    return mean / np.sqrt(np.square(mean).mean()), policies


def _standardized(values: Values) -> Values:
    return np.asarray((values - values.mean()) / values.std())
