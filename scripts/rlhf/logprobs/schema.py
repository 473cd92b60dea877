"""The schemas of log-probabilities under a reference policy, of pairs and of examples, and of the drift from `base`."""

from __future__ import annotations

import math
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import Artifact, table_schema

LOGPROBS = Artifact(
    "logprobs",
    table_schema(
        {
            "prompt_id": pa.string(),
            "chosen_logprob": pa.float32(),
            "rejected_logprob": pa.float32(),
            "chosen_tokens": pa.int32(),
            "rejected_tokens": pa.int32(),
        }
    ),
    key=("prompt_id",),
)
EXAMPLE_LOGPROBS = Artifact(
    "example_logprobs",
    table_schema(
        {
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "logprob": pa.float32(),
            "other_logprob": pa.float32(),
            "tokens": pa.int32(),
            "other_tokens": pa.int32(),
        }
    ),
    key=("prompt_id", "draw"),
)
"""Of examples: the response, and the response to another prompt, both given this prompt."""


def logprob_artifact(pairs: Artifact) -> Artifact:
    """The schema of the log-probabilities of such pairs: it has their key, with draws if a prompt has several pairs."""
    more = [pairs.schema.field(name) for name in pairs.key[1:]]
    return Artifact(LOGPROBS.name, pa.schema([*LOGPROBS.schema, *more]), pairs.key)


DRIFT = Artifact(
    "drift",
    table_schema(
        {
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "logprob": pa.float32(),
            "base_logprob": pa.float32(),
            "tokens": pa.int32(),
        }
    ),
    key=("prompt_id", "draw"),
)
"""Test responses under the policy that sampled them, and under `base`; summed over the tokens of the response."""


class Drift(NamedTuple):
    """Estimates of KL(policy || base) in nats, from samples of the policy (Schulman, "Approximating KL Divergence",
    2020: the unbiased estimator k1).

        KL(p || p_base) = E[log p(y|x) - log p_base(y|x)], y sampled from p(.|x)

    Both are at the sampling temperature. Where sampling cuts the distribution (top_p, top_k, min_p), the responses are
    of the cut one, and the estimate is of their mean log-ratio.
    """

    per_response: float
    """Mean over the responses."""
    error: float | None
    """Its standard error, from the means of the prompts; None of a single prompt."""
    per_token: float
    """Sum over the responses, divided by their tokens."""

    @classmethod
    def of(cls, rows: pa.Table) -> Drift:
        """The estimates from rows of `DRIFT`, of which there is at least one."""
        ratios = pc.subtract(*(rows[name].cast(pa.float64()) for name in ("logprob", "base_logprob")))
        total = pc.sum(ratios).as_py()
        table = pa.table({"prompt": rows["prompt_id"], "ratio": ratios})
        means = table.group_by("prompt").aggregate([("ratio", "mean")])
        spread = pc.stddev(means["ratio_mean"], ddof=1).as_py()
        error = None if spread is None else spread / math.sqrt(len(means))
        return cls(total / len(rows), error, total / pc.sum(rows["tokens"]).as_py())
