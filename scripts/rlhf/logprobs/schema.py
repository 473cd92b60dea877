"""The schema of the pairs' log-probabilities under their reference policy."""

import pyarrow as pa

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
