"""How policies are compared. The judge is the workflow's: `workflow.experiment` adds it to this section."""

from pydantic import Field

from rlhf.base.settings import Settings


class IntervalSettings(Settings):
    """How confidence intervals are computed."""

    bootstrap_samples: int = Field(2000, ge=100, le=1_000_000)
    """Resamples of the prompts behind each interval; more than a million change no digit that is shown."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Level of the intervals, 0.95 for 95 %."""


class LengthControlSpec(IntervalSettings):
    """What `length_control` reads."""

    seed: int = 0
    """Seed of the resampling."""


class EvaluateSpec(Settings):
    """What `evaluate_policy` reads."""

    seed: int
    """Seed of the resampling."""
    policy: str
    """The policy's name."""
    bootstrap_samples: int
    """Resamples of the prompts."""
    confidence: float
    """Level of the intervals."""
