"""A figure of each sweep: a heat map where two keys span a grid, else the points one below the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import PercentFormatter

from rlhf.report.figures import Drawing
from rlhf.report.style import HUES, INK, MUTED, new_figure, to_svg
from rlhf.report.sweeps.results import SweepResult

EVEN = 0.5
MIDDLE = 0.14
"""Share of the colour scale's middle in which text is dark: there the colours are light."""


def sweep_figures(sweeps: Sequence[SweepResult]) -> Iterator[Drawing]:
    for number, sweep in enumerate(sweeps):
        grid = _grid(sweep)
        svg = _dots(sweep, number) if grid is None else _heat_map(sweep, grid, number)
        lines = " Lines: the interval of the difference to the default." if grid is None else ""
        yield Drawing(
            f"sweep-{number}",
            "sweeps",
            f"{sweep.name}: win rate against base at equal length",
            f"On the selection prompts. ★ is trained in full, ○ is the default.{lines}",
            svg,
        )


Grid = tuple[list[Any], list[Any], dict[tuple[int, int], dict[str, Any]]]
"""Values of the two keys in ascending order, and the point at each pair of positions."""


def _grid(sweep: SweepResult) -> Grid | None:
    """The points as a grid of two keys; None if they are none."""
    if len(sweep.keys) != 2:
        return None
    values = [_ordered([row["changes"].get(key) for row in sweep.points]) for key in sweep.keys]
    found = {}
    for row in sweep.points:
        at = tuple(values[axis].index(row["changes"].get(key)) for axis, key in enumerate(sweep.keys))
        found[at[0], at[1]] = row
    return (values[0], values[1], found) if len(found) == len(values[0]) * len(values[1]) else None


def _ordered(values: Sequence[Any]) -> list[Any]:
    distinct = {json.dumps(value): value for value in values}.values()
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct)
    return sorted(distinct) if numbers else list(distinct)


def _heat_map(sweep: SweepResult, grid: Grid, number: int) -> str:
    rows, columns, points = grid
    shares = np.array(
        [[points[i, j]["length_controlled_win_rate"] for j in range(len(columns))] for i in range(len(rows))]
    )
    figure, axes = new_figure(1.3 + 0.48 * len(rows))
    span = max(0.02, float(np.abs(shares - EVEN).max()))
    norm = TwoSlopeNorm(EVEN, EVEN - span, EVEN + span)
    axes.pcolormesh(shares, cmap="RdBu", norm=norm, edgecolors="white", linewidth=1.5)
    for (i, j), row in points.items():
        light = abs(norm(shares[i, j]) - 0.5) < 0.5 - MIDDLE
        text = f"{100 * shares[i, j]:.1f}{_mark(row)}"
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color="#1b1f23" if light else "#ffffff")
    axes.set_xticks(np.arange(len(columns)) + 0.5, [_label(value) for value in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_label(value) for value in rows])
    axes.set_xlabel(sweep.keys[1])
    axes.set_ylabel(sweep.keys[0])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return to_svg(figure, f"sweep-{number}")


def _dots(sweep: SweepResult, number: int) -> str:
    figure, axes = new_figure(0.9 + 0.3 * len(sweep.points))
    for place, row in enumerate(sweep.points):
        if row["difference_low"] is not None:
            middle = row["length_controlled_win_rate"] - row["difference"]
            ends = [middle + row["difference_low"], middle + row["difference_high"]]
            axes.plot(ends, [place, place], color=MUTED, linewidth=1.2)
        axes.plot(row["length_controlled_win_rate"], place, "o", color=HUES[0] if row["promoted"] else INK)
    axes.set_yticks(range(len(sweep.points)), [f"{_text(row)}{_mark(row)}" for row in sweep.points])
    axes.invert_yaxis()
    axes.axvline(EVEN, color=MUTED, linewidth=0.8, linestyle=":")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_xlabel("win rate against base")
    return to_svg(figure, f"sweep-{number}")


def _mark(row: dict[str, Any]) -> str:
    return (" ○" if row["default"] else "") + (" ★" if row["promoted"] else "")


def _text(row: dict[str, Any]) -> str:
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {_label(value)}" for key, value in row["changes"].items())


def _label(value: Any) -> str:
    """A value; a number in its shorter form, 0.01 or 3e-7."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent = f"{value:e}".split("e")
    return min(f"{value:g}", f"{float(mantissa):g}e{int(exponent)}", key=len)
