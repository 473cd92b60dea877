"""Several scorers, combined to one reward."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.base.settings import Settings
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.rewards.settings import ScorerName, Weight


class WeightedScorer(Settings):
    """One of several scorers, with its weight."""

    weight: Weight = 1.0
    """Its share of the weighted mean. Beyond a million to one the smaller ones are lost in rounding."""
    scorer: Scorer
    """A reward model or function."""


class CombinedSettings(RewardSettings):
    """Several scorers: the weighted mean of their standardized scores.

    Each scorer's mean and standard deviation are those of its scores of the responses of `base` in `train-000`, for all
    policies, parts and iterations: rewards stay comparable (and change when `train-000` does: fill that part at once).
    A response that one scorer has no reward for has none.
    """

    kind: Literal["combined"]
    """Several scorers."""
    scorers: dict[ScorerName, WeightedScorer] = Field(min_length=2)
    """By name; their standardized scores are kept as the objectives of the rewards, under these names."""
