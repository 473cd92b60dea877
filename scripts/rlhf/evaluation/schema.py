"""The Parquet schemas of comparisons, of the length control, of an evaluation, and of a sweep."""

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
            "compared": pa.int32(),
            "common_prompts": pa.int32(),
            "better_than": pa.int32(),
            "length_controlled_better_than": pa.int32(),
        },
        nullable=("length_controlled_win_rate", "length_controlled_low", "length_controlled_high", "unknown"),
    ),
    key=("judge", "policy"),
)
"""A row per judge and policy. `difficulty_from`: the number of other policies that the difficulty of the prompts was
estimated from. `unknown`: why there is no length-controlled win rate. `compared`: policies that were compared with each
other, `base` among them, on the `common_prompts` that all have. `better_than`: how many of them the policy is
significantly better than, corrected for the number of pairs; `length_controlled_better_than`: at equal length."""

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

SWEEP = Artifact(
    "sweep",
    table_schema(
        {
            "point": pa.int32(),
            "name": pa.string(),
            "changes": pa.string(),
            "runs": pa.int32(),
            "prompts": pa.int32(),
            "win_rate": pa.float32(),
            "length_controlled_win_rate": pa.float32(),
            "difference": pa.float32(),
            "difference_low": pa.float32(),
            "difference_high": pa.float32(),
            "p_value": pa.float64(),
            "corrected_p_value": pa.float64(),
            "default": pa.bool_(),
            "promoted": pa.int32(),
        },
        nullable=("difference", "difference_low", "difference_high", "p_value", "corrected_p_value", "promoted"),
    ),
    key=("point",),
)
"""A row per point. `changes`: what it changes in its variant, JSON. `runs`: its policies, which differ in their seed.
`win_rate`: against `base` on the selection prompts. `difference`: of the length-controlled win rate to that of the
default point, with its interval, the p-value of the one-sided test, and that corrected for the number of points; null
for the default itself. `promoted`: 1, 2, ... for the points that are trained in full, in this order."""
