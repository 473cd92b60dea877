"""The points of a sweep: what each changes in its variant, and its name."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from workflow.variants.settings import RangeSettings, SweepSettings

Scalar = bool | int | float | str | None
Changes = dict[str, Scalar]
"""Key with dots -> value."""
DIGITS = 3
"""Significant digits of a random value: as many as a name can carry and still be read."""
SHORT = {"learning_rate": "lr", "batch_size": "batch"}
"""What a key is called in names; other keys by their last part."""
UNNAMEABLE = re.compile(r"[^a-z0-9_.-]+")


def changes_of(name: str, sweep: SweepSettings, seed: int) -> list[Changes]:
    """What each point changes, in the order of the configuration.

    Args:
        name: of the sweep; random values depend on it, on the key and on the number of the draw, and on nothing else.
        seed: of the experiment.
    """
    found = list(_random(name, sweep, seed) if sweep.draws else _grid(sweep)) if sweep.over else []
    return [*found, *map(dict, sweep.points)]


def point_name(variant: str, changes: Mapping[str, Scalar]) -> str:
    """`rebel_lr3e-7_eta1e5`."""
    parts = [f"{label}{_text(changes[key])}" for key, label in _labels(changes).items()]
    return "_".join([variant, *parts])


def _grid(sweep: SweepSettings) -> Iterator[Changes]:
    values = [found for found in sweep.over.values() if not isinstance(found, RangeSettings)]
    for chosen in itertools.product(*values):
        yield dict(zip(sweep.over, chosen, strict=True))


def _random(name: str, sweep: SweepSettings, seed: int) -> Iterator[Changes]:
    for draw in range(sweep.draws or 0):
        yield {key: _drawn(values, f"{seed} {name} {key} {draw}") for key, values in sweep.over.items()}


def _drawn(values: RangeSettings | list[Scalar], text: str) -> Scalar:
    """A random value: the hash of `text`, as a number from 0 to 1, tells which."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    if not isinstance(values, RangeSettings):
        return values[int(share * len(values))]
    low, high = values.low, values.high
    value = low * (high / low) ** share if values.scale == "log" else low + (high - low) * share
    return min(high, max(low, float(f"{value:.{DIGITS}g}")))


def _labels(keys: Iterable[str]) -> dict[str, str]:
    """A word for each key; the whole key where two end alike."""
    keys = list(keys)
    short = {key: SHORT.get(key, key.rsplit(".", 1)[-1]) for key in keys}
    words = list(short.values())
    return {key: word if words.count(word) == 1 else key.replace(".", "_") for key, word in short.items()}


def _text(value: Scalar) -> str:
    """A value in a name: a number in its shortest exact form."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNNAMEABLE.sub("-", str(value).lower()).strip(".-") or "empty"
    number = Decimal(repr(value)).normalize()
    sign, digits, exponent = number.as_tuple()
    figures = "".join(map(str, digits))
    mantissa = figures[0] + (f".{figures[1:]}" if len(figures) > 1 else "")
    scientific = f"{'-' * sign}{mantissa}e{int(exponent) + len(figures) - 1}"
    return min(f"{number:f}", scientific, key=len)
