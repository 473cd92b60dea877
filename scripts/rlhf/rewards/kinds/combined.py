"""Several scorers, combined into one reward."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.base.settings import Settings
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.rewards.settings import ScorerName, Weight


class WeightedScorer(Settings):
    """One of several scorers, with its weight."""

    weight: Weight = 1.0
    """Weight in the mean. Ratios beyond a million would be lost in rounding."""
    scorer: Scorer
    """A reward model, function or server."""


class CombinedSettings(RewardSettings):
    """Several scorers; the reward is the weighted mean of their standardized scores.

    A scorer's mean and standard deviation are taken over the responses of `base` in `train-000`, and used for all
    policies, parts and iterations, so that rewards are comparable. They change when `train-000` does, so make
    `prompts.train` at least `prompts.part_size` from the start. A response without a score from one of the scorers has
    no reward.
    """

    kind: Literal["combined"]
    """Several scorers."""
    scorers: dict[ScorerName, WeightedScorer] = Field(min_length=2)
    """Scorers by name. Their standardized scores are stored as the objectives of the rewards, under these names."""
