"""Log-probabilities of the pairs under the policy that is their reference: settings and schema."""

import pyarrow as pa

from rlhf.artifacts import Artifact
from rlhf.models import ModelSource, Precision
from rlhf.settings import Settings


class LogprobSettings(Settings):
    """How log-probabilities are computed, here and in training."""

    precision: Precision = "bfloat16"
    """Type of the computation. The log-softmax and all after it is float32 in any case."""


class LogprobSpec(Settings):
    """What `compute_logprobs` reads."""

    model: ModelSource | None
    """The policy; null where --policy gives its folder."""
    precision: Precision
    """Type of the computation."""
    temperature: float
    """Logits are divided by it: the sampling temperature."""


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
