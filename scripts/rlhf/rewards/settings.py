"""What the programs of rewards read."""

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
    """Rows of the prompts that are the part."""
    scorer: Scorer
    """The scorer."""
    model: ModelSource | None
    """The reward model; null if --reward-model names its folder, and for scorers without a model."""


class CombineSpec(Settings):
    """What `combine_rewards` reads."""

    weights: dict[ScorerName, Weight]
    """Weight of each scorer, by name; the flags list files in alphabetical order of the names."""
