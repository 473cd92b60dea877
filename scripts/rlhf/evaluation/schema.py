"""The Parquet schema of an evaluation."""

import pyarrow as pa

from rlhf.base.artifacts import Artifact

EVALUATION = Artifact(
    "evaluation",
    pa.schema(
        [
            pa.field("policy", pa.string(), nullable=False),
            pa.field("judge", pa.string(), nullable=False),
            pa.field("mean_reward", pa.float32(), nullable=False),
            pa.field("win_rate", pa.float32(), nullable=False),
            pa.field("win_rate_low", pa.float32(), nullable=False),
            pa.field("win_rate_high", pa.float32(), nullable=False),
            pa.field("length_controlled_win_rate", pa.float32()),
            pa.field("mean_tokens", pa.float32(), nullable=False),
            pa.field("truncated", pa.float32(), nullable=False),
        ]
    ),
    key=("policy", "judge"),
)
