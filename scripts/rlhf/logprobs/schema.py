"""The file of log-probabilities of the pairs, under the policy that is their reference."""

import pyarrow as pa

from rlhf.base.artifacts import Artifact

LOGPROBS = Artifact(
    "logprobs",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("chosen_logprob", pa.float32(), nullable=False),
            pa.field("rejected_logprob", pa.float32(), nullable=False),
            pa.field("chosen_tokens", pa.int32(), nullable=False),
            pa.field("rejected_tokens", pa.int32(), nullable=False),
        ]
    ),
    key=("prompt_id",),
)
