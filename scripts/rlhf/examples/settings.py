"""Settings of examples."""

from typing import Annotated

from pydantic import Field, model_validator

from rlhf.base.names import Rows
from rlhf.base.settings import Settings

LARGEST_REWARD = 1e9
"""Upper bound of thresholds; beyond it there would be no examples."""
Threshold = Annotated[float, Field(ge=-LARGEST_REWARD, le=LARGEST_REWARD)]


def require_order(desirable_above: float | None, undesirable_below: float | None) -> None:
    """Raise ValueError if a response could be both desirable and undesirable."""
    if desirable_above is not None and undesirable_below is not None and undesirable_below > desirable_above:
        raise ValueError(
            f"undesirable_below ({undesirable_below:g}) is above desirable_above ({desirable_above:g}): a response "
            "between the two would be both; allowed: at most as high"
        )


class ExampleSettings(Settings):
    """Which responses are examples, for losses that learn from single responses instead of pairs (`kto`).

    They are those of the parent alone, whatever `pairs.pool` says.
    """

    desirable_above: Threshold | None = None
    """A response with a reward above this is a desirable example. A loss without pairs needs it. How rewards are
    distributed is in the log of `build_examples`, and another threshold samples and scores nothing again."""
    undesirable_below: Threshold | None = None
    """A response with a reward below this is an undesirable example; what lies between the two is dropped and
    counted."""

    @model_validator(mode="after")
    def _check_order(self) -> "ExampleSettings":
        require_order(self.desirable_above, self.undesirable_below)
        return self


class ExampleSpec(Settings):
    """What `build_examples` reads."""

    rows: Rows
    """Rows of the prompts that are the part."""
    desirable_above: float
    """Responses with a reward above this are desirable."""
    undesirable_below: float
    """Responses with a reward below this are undesirable."""
    seed: int
    """The experiment's seed, for the response of another prompt that each example gets."""

    @model_validator(mode="after")
    def _check_order(self) -> "ExampleSpec":
        require_order(self.desirable_above, self.undesirable_below)
        return self
