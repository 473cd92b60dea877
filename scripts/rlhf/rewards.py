"""Rewards: which reward model, and the schema of rewards and judgements."""

from typing import Annotated, Literal

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import Artifact
from rlhf.models import ModelSource, Precision
from rlhf.parts import Rows
from rlhf.settings import Settings


class ArmoSettings(Settings):
    """A reward model of ArmoRM's form: objectives mixed by a gate on the prompt."""

    kind: Literal["armo"] = "armo"
    """ArmoRM, or a model of its form."""
    model: str = Field("RLHFlow/ArmoRM-Llama3-8B-v0.1", min_length=1)
    """Hub name, a local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub's repository; null takes the newest and records which one it was."""
    max_tokens: int = Field(4096, ge=1)
    """Longest conversation in tokens; a longer one has no reward and enters no pair."""
    precision: Precision = "bfloat16"
    """Type of the backbone; heads and score are float32 in any case."""


class FunctionSettings(Settings):
    """Your own Python function: prompts and responses in, scores out."""

    kind: Literal["function"] = "function"
    """A Python function."""
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`module:function`, importable from the working directory or from `scripts/`; it gets two lists of strings (the
    prompts, the responses) and returns as many finite numbers."""


RewardSettings = Annotated[ArmoSettings | FunctionSettings, Field(discriminator="kind")]


def scorer_modules(scorer: ArmoSettings | FunctionSettings) -> list[str]:
    """The modules that a scorer names: their code is part of what makes its scores."""
    return [scorer.function.split(":")[0]] if isinstance(scorer, FunctionSettings) else []


class ScoreSpec(Settings):
    """What `score_responses` and `judge_responses` read."""

    rows: Rows
    """The part: rows of the prompts."""
    scorer: RewardSettings
    """The reward model or function."""
    model: ModelSource | None
    """The reward model; null where --reward-model gives its folder, and for functions."""


REWARDS = Artifact(
    "rewards",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("draw", pa.int32(), nullable=False),
            pa.field("reward", pa.float32()),
            pa.field("invalid", pa.string()),
            pa.field("objectives", pa.list_(pa.field("element", pa.float32(), nullable=False))),
        ]
    ),
    key=("prompt_id", "draw"),
)
