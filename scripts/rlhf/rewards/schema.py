"""The schema of rewards, of the scores behind combined rewards, and of judgements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rlhf.base.artifacts import Artifact, table_schema

NO_REWARD = "no_reward"
"""Why a response is invalid: the user's function, server or dataset gives it no score."""
TOO_LONG = "too_long"
"""Why a response is invalid: the conversation has more tokens than `max_tokens`, or than the reward model accepts."""

REWARDS = Artifact(
    "rewards",
    table_schema(
        {
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "reward": pa.float32(),
            "invalid": pa.string(),
            "objectives": pa.list_(pa.field("element", pa.float32(), nullable=False)),
        },
        nullable=("reward", "invalid", "objectives"),
    ),
    key=("prompt_id", "draw"),
)


def reward_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of rows of `REWARDS`: all `responses`, those `scored`, and the `invalid` ones by reason."""
    invalid = Counter(row["invalid"] for row in rows if row["reward"] is None)
    return {"responses": len(rows), "scored": len(rows) - invalid.total(), "invalid": dict(sorted(invalid.items()))}
