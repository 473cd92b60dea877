"""Settings of variants and of sweeps over them."""

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from rlhf.base.settings import GivenText, Settings
from rlhf.training.loss import Loss
from rlhf.training.settings import RecipeSettings, TrainingSettings

VariantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*([.-][a-z0-9_]+)*$", max_length=60)]
SweepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*([.-][a-z0-9_]+)*$", max_length=50)]
MOST_POINTS = 1000
Section = TypeVar("Section", bound=Settings)


def as_number(value: Any) -> Any:
    """A text that is a number as that number: YAML reads `1e-7`, without a point, as text."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


Value = Annotated[bool | int | float | str | None, BeforeValidator(as_number)]
"""What a key is set to at a point of a sweep."""


class VariantSettings(TrainingSettings):
    """A named training recipe: its loss, and the keys of `training` that it overrides."""

    loss: Loss
    """The loss and its hyperparameters."""

    def recipe(self, training: TrainingSettings) -> RecipeSettings:
        """The hyperparameters of `training`, overridden by those that the variant sets."""
        return self.merged(RecipeSettings, training)

    def merged(self, section: type[Section], training: TrainingSettings) -> Section:
        """The keys of a section, of `training` where the variant does not set them."""
        merged = {
            name: getattr(self if name in self.model_fields_set else training, name) for name in section.model_fields
        }
        return section(**merged)


class RangeSettings(Settings):
    """A range from which random values are taken."""

    low: Annotated[float, BeforeValidator(as_number)]
    """Smallest value."""
    high: Annotated[float, BeforeValidator(as_number)]
    """Largest value."""
    scale: Literal["log", "linear"] = "log"
    """`log` takes each order of magnitude equally often, for learning rates and the like."""

    @model_validator(mode="after")
    def _check_together(self) -> "RangeSettings":
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: on the scale `log` it must be greater than 0")
        return self


class SweepSettings(Settings):
    """Trains a variant with other settings on a part of the pairs, and the best of them on all.

    Keys of the variant are written with dots: `learning_rate`, `loss.eta`, `lora.rank`.
    """

    variant: str
    """The variant whose settings are changed; it is not trained by itself."""
    over: dict[GivenText, Annotated[list[Value], Field(min_length=1)] | RangeSettings] = Field({})
    """Values of each key, `learning_rate: [1.0e-7, 3.0e-7]`: every combination is a point of the sweep. With `draws`:
    values, or a range such as `{low: 1.0e-7, high: 1.0e-5}`, of which each point has random ones."""
    draws: int | None = Field(None, ge=1, le=MOST_POINTS)
    """Number of random points in place of all combinations; raised later, it adds points and keeps the others."""
    points: list[Annotated[dict[GivenText, Value], Field(min_length=1)]] = Field([])
    """Further points, written out: `[{learning_rate: 1.0e-6, loss.eta: 1.0e+4}]`."""
    seeds: int = Field(1, ge=1, le=100)
    """Trainings of each point, which differ in their seed: two or more tell how much of a difference is chance."""
    pilot: int = Field(ge=1, le=1_000_000_000)
    """Number of pairs that each of them is trained on."""
    promote: int = Field(1, ge=1, le=MOST_POINTS)
    """Number of points that are trained in full, as the variants `<sweep>_1`, `<sweep>_2`, ..."""
    judge: Literal["reward", "judge"] | None = None
    """Who compares the points: the training reward, or the judge of the evaluation; null takes the judge if there is
    one."""

    @model_validator(mode="after")
    def _check_together(self) -> "SweepSettings":
        ranges = [key for key, values in self.over.items() if isinstance(values, RangeSettings)]
        if ranges and self.draws is None:
            raise ValueError(f"`{ranges[0]}` is a range: say in `draws` how many random points to take")
        if self.draws is not None and not ranges:
            raise ValueError("`draws` takes random points from ranges, and `over` has none: leave it out")
        if not self.over and not self.points:
            raise ValueError("it has no points: give values in `over`, or `points`")
        return self
