"""The Parquet schemas of a benchmark's results, and of the summary of all of them."""

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

EXCHANGES = Artifact(
    "exchanges",
    table_schema({"side": pa.string(), "digest": pa.string(), "request": pa.string(), "answer": pa.string()}),
    key=("side", "digest"),
)
"""A row per request of a benchmark, by `side` (`policy` or `judge`) and its digest: request and answer as JSON, as the
servers got and gave them."""

SCORE, LENGTH_CONTROLLED = "score", "length_controlled"
PUBLISHED_WIN_RATE, PUBLISHED_LENGTH_CONTROLLED = "published_win_rate", "published_length_controlled"
SUMMARY = Artifact(
    "benchmark_summary",
    table_schema(
        {
            "policy": pa.string(),
            "benchmark": pa.string(),
            "metric": pa.string(),
            "questions": pa.int32(),
            "without_score": pa.int32(),
            "score": pa.float64(),
            "score_low": pa.float64(),
            "score_high": pa.float64(),
            "difference": pa.float64(),
            "difference_low": pa.float64(),
            "difference_high": pa.float64(),
            "length": pa.float64(),
            "tokens": pa.float64(),
            "unknown": pa.string(),
        },
        nullable=(
            "score",
            "score_low",
            "score_high",
            "difference",
            "difference_low",
            "difference_high",
            "tokens",
            "unknown",
        ),
    ),
    key=("policy", "benchmark", "metric"),
)
"""A row per policy, benchmark and metric. `metric`: `score` is the mean over questions; `length_controlled` is our win
rate at equal length (see `rlhf.evaluation.length_control`); `published_length_controlled` is that of the alpaca_eval
package; `published_win_rate` is the benchmark's own where that is no mean over questions (Arena-Hard counts strong
verdicts three times). `without_score`: the number of questions without a score. `difference`: the mean difference to
`base` over the questions that both have a score of, with an interval. `length`, `tokens`: mean characters and tokens
of an answer. `unknown`: why there is no score."""
