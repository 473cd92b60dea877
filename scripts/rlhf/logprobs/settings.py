"""Settings of log-probabilities."""

from rlhf.base.names import Rows
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


class DriftSpec(Settings):
    """What `measure_drift` reads."""

    rows: Rows
    """Rows of the prompts that are the test prompts."""
    base: ModelSource | None
    """The policy `base`; null if --base names its folder."""
    precision: Precision
    """Dtype of the computation."""
    temperature: float
    """Sampling temperature, which divides the logits."""
