"""The Parquet schemas of comparisons, of the length control, and of an evaluation."""

import pyarrow as pa

from rlhf.base.artifacts import Artifact, table_schema

COMPARISONS = Artifact(
    "comparisons",
    table_schema(
        {
            "judge": pa.string(),
            "policy": pa.string(),
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "preference": pa.float64(),
            "length": pa.float64(),
            "reference_length": pa.float64(),
        }
    ),
    key=("judge", "prompt_id", "draw"),
)
"""A row per scored draw of a policy: the share of draws of `base` on the same prompt that it beats (a tie counts half),
its characters, and the mean characters of those draws of `base`."""

LENGTH_CONTROL = Artifact(
    "length_control",
    table_schema(
        {
            "judge": pa.string(),
            "policy": pa.string(),
            "prompts": pa.int32(),
            "win_rate": pa.float32(),
            "win_rate_low": pa.float32(),
            "win_rate_high": pa.float32(),
            "length_controlled_win_rate": pa.float32(),
            "length_controlled_low": pa.float32(),
            "length_controlled_high": pa.float32(),
            "difficulty_from": pa.int32(),
            "unknown": pa.string(),
        },
        nullable=("length_controlled_win_rate", "length_controlled_low", "length_controlled_high", "unknown"),
    ),
    key=("judge", "policy"),
)
"""A row per judge and policy. `difficulty_from`: the number of other policies that the difficulty of the prompts was
estimated from. `unknown`: why there is no length-controlled win rate."""

EVALUATION = Artifact(
    "evaluation",
    table_schema(
        {
            "policy": pa.string(),
            "judge": pa.string(),
            "mean_reward": pa.float32(),
            "win_rate": pa.float32(),
            "win_rate_low": pa.float32(),
            "win_rate_high": pa.float32(),
            "mean_tokens": pa.float32(),
            "truncated": pa.float32(),
        }
    ),
    key=("policy", "judge"),
)
