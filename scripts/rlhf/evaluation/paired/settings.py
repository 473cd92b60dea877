"""Settings of the choice of a sweep's points."""

from pydantic import Field

from rlhf.base.settings import Settings


class PointSpec(Settings):
    """One point of a sweep."""

    name: str
    """Name of the point: that of its policies without seed and iteration."""
    changes: dict[str, bool | int | float | str | None]
    """What it changes in its variant, by key."""
    policies: list[str] = Field(min_length=1)
    """Its policies, one per seed."""


class ChooseSpec(Settings):
    """What `choose_variants` reads."""

    sweep: str
    """Name of the sweep."""
    judge: str
    """By whose preferences the points are compared: `reward` or `judge`, as in the comparisons."""
    points: list[PointSpec] = Field(min_length=1)
    """The points, each with equally many policies."""
    default: int
    """Position of the point that is promoted where none is significantly better."""
    promote: int = Field(ge=1)
    """Number of points to promote."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Level of the intervals, and of the finding that a point is better than the default."""
