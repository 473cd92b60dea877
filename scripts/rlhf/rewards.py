"""Rewards: which reward model, and the schema of rewards and judgements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field, StringConstraints

from rlhf.artifacts import Artifact
from rlhf.models import ModelSource, Precision
from rlhf.parts import Rows
from rlhf.settings import LONGEST_CONTEXT, Settings

LARGEST_REWARD = (2 - 2**-23) * 2.0**127
"""The largest float32: a larger reward would be infinite in `REWARDS`."""
NO_REWARD = "no_reward"
"""Why a response is invalid that the user's function or dataset gives no reward."""


class ArmoSettings(Settings):
    """A reward model of ArmoRM's form: objectives mixed by a gate on the prompt."""

    kind: Literal["armo"] = "armo"
    """ArmoRM, or a model of its form."""
    model: str = Field("RLHFlow/ArmoRM-Llama3-8B-v0.1", min_length=1)
    """Hub name, a local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub's repository; null takes the newest and records which one it was."""
    max_tokens: int = Field(4096, ge=2, le=LONGEST_CONTEXT)
    """Longest conversation in tokens; a longer one has no reward and enters no pair."""
    precision: Precision = "bfloat16"
    """Type of the backbone; heads and score are float32 in any case."""


class SequenceClassificationSettings(Settings):
    """Any decoder with a linear head of one output (`AutoModelForSequenceClassification`): its raw score."""

    kind: Literal["sequence_classification"]
    """A sequence classifier."""
    model: str = Field(min_length=1)
    """Hub name or a local folder."""
    revision: str | None = None
    """Commit of the hub's repository; null takes the newest and records which one it was."""
    max_tokens: int = Field(4096, ge=2, le=LONGEST_CONTEXT)
    """Longest conversation in tokens; a longer one has no reward and enters no pair."""
    precision: Precision = "bfloat16"
    """Type of the decoder; the head and the score are float32 in any case."""


class FunctionSettings(Settings):
    """Your own Python function: prompts and responses in, scores out."""

    kind: Literal["function"] = "function"
    """A Python function."""
    function: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
    """`module:function`, of a module in the working directory or in `scripts/`; it gets two lists of strings (the
    prompts, the responses) and returns as many finite numbers, or None for a response that has no reward."""


RewardModelSettings = ArmoSettings | SequenceClassificationSettings
Scorer = RewardModelSettings | FunctionSettings
ScorerSettings = Annotated[Scorer, Field(discriminator="kind")]
ScorerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Weight = Annotated[float, Field(ge=1e-6, le=1e6)]


class WeightedScorer(Settings):
    """One of several scorers, with its weight."""

    weight: Weight = 1.0
    """Its share of the weighted mean. Beyond a million to one the smaller ones are lost in rounding."""
    scorer: ScorerSettings
    """A reward model or function."""


class CombinedSettings(Settings):
    """Several scorers: the weighted mean of their standardized scores.

    Each scorer's mean and standard deviation are those of its scores of the responses of `base` in `train-000`, for all
    policies, parts and iterations: rewards stay comparable (and change when `train-000` does: fill that part at once).
    A response that one scorer has no reward for has none.
    """

    kind: Literal["combined"]
    """Several scorers."""
    scorers: dict[ScorerName, WeightedScorer] = Field(min_length=2)
    """By name; their standardized scores are kept as the objectives of the rewards, under these names."""


RewardSettings = Annotated[Scorer | CombinedSettings, Field(discriminator="kind")]


def scorer_modules(scorer: Scorer) -> list[str]:
    """The modules that a scorer names: their code is part of what makes its scores."""
    return [scorer.function.split(":")[0]] if isinstance(scorer, FunctionSettings) else []


class ScoreSpec(Settings):
    """What `score_responses` and `judge_responses` read."""

    rows: Rows
    """The part: rows of the prompts."""
    scorer: ScorerSettings
    """The reward model or function."""
    model: ModelSource | None
    """The reward model; null where --reward-model gives its folder, and for functions."""


class CombineSpec(Settings):
    """What `combine_rewards` reads."""

    weights: dict[ScorerName, Weight]
    """The weight of each scorer by its name; the files are given in the alphabetical order of the names."""


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


def reward_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of rows of `REWARDS`: how many `responses` there are, how many have a reward, and why the others have none."""
    invalid = Counter(row["invalid"] for row in rows if row["reward"] is None)
    return {"responses": len(rows), "scored": len(rows) - invalid.total(), "invalid": dict(sorted(invalid.items()))}
