"""How log-probabilities are computed."""

from rlhf.base.settings import Precision, Settings
from rlhf.models.source import ModelSource


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
