"""What the programs of the rewards read."""

from typing import Annotated

from pydantic import Field, StringConstraints

from rlhf.base.names import Rows
from rlhf.base.settings import Settings
from rlhf.models.source import ModelSource
from rlhf.rewards.scorer import Scorer

ScorerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Weight = Annotated[float, Field(ge=1e-6, le=1e6)]


class ScoreSpec(Settings):
    """What `score_responses` and `judge_responses` read."""

    rows: Rows
    """The part: rows of the prompts."""
    scorer: Scorer
    """The reward model or function."""
    model: ModelSource | None
    """The reward model; null where --reward-model gives its folder, and for functions."""


class CombineSpec(Settings):
    """What `combine_rewards` reads."""

    weights: dict[ScorerName, Weight]
    """The weight of each scorer by its name; the files are given in the alphabetical order of the names."""
