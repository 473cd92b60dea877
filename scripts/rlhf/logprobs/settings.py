"""Settings of log-probabilities."""

from rlhf.base.settings import Precision, Settings
from rlhf.models.source import ModelSource


class LogprobSettings(Settings):
    """How log-probabilities are computed, by `compute_logprobs` and in training."""

    precision: Precision = "bfloat16"
    """Dtype of the computation. The log-softmax and everything after it are always float32."""


class LogprobSpec(Settings):
    """What `compute_logprobs` reads."""

    model: ModelSource | None
    """The policy; null if --policy names its folder."""
    precision: Precision
    """Dtype of the computation."""
    temperature: float
    """Sampling temperature, which divides the logits."""
