"""The Parquet schema of a benchmark's results."""

import pyarrow as pa

from rlhf.base.artifacts import Artifact, table_schema

BENCHMARK = Artifact(
    "benchmark",
    table_schema(
        {
            "question_id": pa.string(),
            "category": pa.string(),
            "question": pa.list_(pa.string()),
            "answer": pa.list_(pa.string()),
            "score": pa.float64(),
            "verdicts": pa.list_(pa.float64()),
            "unknown": pa.string(),
            "length": pa.int32(),
            "reference_length": pa.int32(),
            "tokens": pa.int32(),
        },
        nullable=("score", "verdicts", "unknown", "reference_length", "tokens"),
    ),
    key=("question_id",),
)
"""A row per question, in the benchmark's order. `question`, `answer`: a text per turn. `score`: what the benchmark
averages, as it defines it: a win probability in [0, 1], a rating of 1 to 10, right (1) or wrong (0). `verdicts`: the
judge's, for each order of the two answers (as preference for the policy) or each turn (a rating), null where it gave
none; null for tasks. `unknown`: why there is no score. `length`, `reference_length`: characters of the answers.
`tokens`: of the answers."""
