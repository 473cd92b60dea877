"""The variants that are trained: as written out, at the points of a sweep, and the points that it promotes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rlhf.training.settings import TrainingSettings
from workflow.variants.points import Changes, changes_of, point_name
from workflow.variants.settings import MOST_POINTS, SweepSettings, VariantSettings

FIXED = {
    "loss": "write keys of the loss with dots: `loss.eta`",
    "loss.name": "a loss is a variant of its own: give each its sweep",
    "pairs": "`pilot` says on how many pairs a point is trained, and the variant on how many in full",
    "iterations": "points are trained for one iteration",
}
"""Keys that a sweep cannot change, and why."""
LONGEST_NAME = 120


@dataclass(frozen=True)
class Point:
    """One point of a sweep."""

    name: str
    """`rebel_lr3e-7_eta1e5`."""
    changes: Changes
    settings: VariantSettings
    """Of the training in full."""


@dataclass(frozen=True)
class Sweep:
    """A sweep with its points."""

    name: str
    settings: SweepSettings
    points: tuple[Point, ...]
    default: int
    """Position of the point with the variant's own settings; 0 where there is none."""

    def candidates(self, point: Point) -> list[str]:
        """The variants of a point, one per seed."""
        return [f"{point.name}_s{seed}" for seed in range(1, self.settings.seeds + 1)]

    def settings_of(self, name: str) -> VariantSettings:
        """The settings of the point with this name, of its training in full."""
        return next(point.settings for point in self.points if point.name == name)

    @property
    def promoted(self) -> list[str]:
        """The variants that are trained in full, the best one first."""
        return [f"{self.name}_{rank}" for rank in range(1, self.settings.promote + 1)]


@dataclass(frozen=True)
class TrainedVariant:
    """A variant whose policies are trained."""

    settings: VariantSettings
    """Of a promoted one, those of the variant that was swept: which point it is, the sweep will tell."""
    iterations: int | None = None
    """None: as its settings say."""
    sweep: str | None = None
    """The sweep that it belongs to."""
    rank: int | None = None
    """Of a promoted one: 1 is the sweep's best point, 2 the next one."""
    seed: int = 0
    """Added to the seed of the experiment."""

    @property
    def is_candidate(self) -> bool:
        """Whether it is only trained to be compared with others."""
        return self.sweep is not None and self.rank is None


def sweep_of(
    name: str, settings: SweepSettings, variants: Mapping[str, VariantSettings], training: TrainingSettings, seed: int
) -> Sweep:
    """A sweep with its points.

    Args:
        training: what all variants share.
        seed: of the experiment.

    Raises:
        ValueError: a point is no valid variant, or there are two of the same settings.
    """
    if settings.variant not in variants:
        raise ValueError(f"sweeps.{name}.variant: there is no variant {settings.variant!r}; {', '.join(variants)}")
    own = variants[settings.variant]
    points: list[Point] = []
    for changes in changes_of(name, settings, seed):
        point = Point(point_name(settings.variant, changes), changes, _changed(name, own, training, changes))
        same = [other for other in points if _is_same(other.settings, point.settings, training)]
        if same and settings.draws is None:
            raise ValueError(f"sweeps.{name}: the points {same[0].name} and {point.name} are the same settings")
        if not same:
            points.append(point)
    if len(points) > MOST_POINTS:
        raise ValueError(f"sweeps.{name}: {len(points)} points; allowed: at most {MOST_POINTS}")
    if settings.promote > len(points):
        raise ValueError(
            f"sweeps.{name}.promote: it is {settings.promote}, and the sweep has {len(points)} point(s); allowed: at "
            "most so many"
        )
    default = next((place for place, point in enumerate(points) if _is_same(point.settings, own, training)), 0)
    return Sweep(name, settings, tuple(points), default)


def trained_variants(variants: Mapping[str, VariantSettings], sweeps: Mapping[str, Sweep]) -> dict[str, TrainedVariant]:
    """All variants that are trained, by name: those that no sweep changes, the promoted ones, the candidates.

    Raises:
        ValueError: two of them have the same name.
    """
    swept = {sweep.settings.variant for sweep in sweeps.values()}
    found = {name: TrainedVariant(settings) for name, settings in variants.items() if name not in swept}
    for sweep in sweeps.values():
        own = variants[sweep.settings.variant]
        ranked = enumerate(sweep.promoted, start=1)
        _add(found, {name: TrainedVariant(own, sweep=sweep.name, rank=rank) for rank, name in ranked}, sweep)
    for sweep in sweeps.values():
        for point in sweep.points:
            pilot = point.settings.model_copy(update={"pairs": sweep.settings.pilot})
            made = {name: TrainedVariant(pilot, 1, sweep.name, seed=seed)
                    for seed, name in enumerate(sweep.candidates(point))}  # fmt: skip
            _add(found, made, sweep)
    return found


def _add(found: dict[str, TrainedVariant], made: Mapping[str, TrainedVariant], sweep: Sweep) -> None:
    for name in made:
        if name in found:
            raise ValueError(f"sweeps.{sweep.name}: two variants are called {name!r}: rename the sweep or the variant")
        if len(name) > LONGEST_NAME:
            raise ValueError(
                f"sweeps.{sweep.name}: the name {name!r} has {len(name)} characters, and at most {LONGEST_NAME} are "
                "allowed: sweep over fewer keys at a time"
            )
    found.update(made)


def _changed(sweep: str, own: VariantSettings, training: TrainingSettings, changes: Changes) -> VariantSettings:
    """The variant with some keys set to other values; of a section that `training` has, the other keys stay."""
    shared, merged = training.model_dump(exclude_unset=True), own.model_dump(exclude_unset=True)
    for key, value in changes.items():
        if key in FIXED:
            raise ValueError(f"sweeps.{sweep}: it changes `{key}`: {FIXED[key]}")
        section: dict[str, Any] = merged
        *above, last = key.split(".")
        for part in above:
            inner = section.get(part, shared.get(part))
            section[part] = dict(inner) if isinstance(inner, dict) else {}
            section = section[part]
        section[last] = value
    try:
        return VariantSettings.model_validate(merged)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
        shown = ", ".join(f"{key}: {value!r}" for key, value in changes.items())
        where = ".".join(map(str, wrong["loc"]))
        raise ValueError(
            f"sweeps.{sweep}: the point {{{shown}}} is no valid variant: {where}: {wrong['msg']}"
        ) from error


def _is_same(one: VariantSettings, other: VariantSettings, training: TrainingSettings) -> bool:
    """Whether two variants are trained alike, whatever of it they say themselves."""
    return one.loss == other.loss and one.recipe(training) == other.recipe(training)
