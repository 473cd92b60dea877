"""The summary table: numbers as text, and the table as aligned Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.report.material import Material, Policy


@dataclass(frozen=True)
class Cell:
    """A number as text."""

    text: str
    interval: str = ""
    """`[low, high]`, or nothing."""
    share: float | None = None
    """The value of a win rate, 0 to 1, for a bar behind it."""
    best: bool = False
    """Whether it is the best of its column."""


@dataclass(frozen=True)
class Summary:
    """Column titles, and a row of cells per policy."""

    titles: list[str]
    rows: dict[str, list[Cell]]


def summarize(material: Material) -> Summary:
    """The table: one row per policy, in the order of the spec."""
    label = material.spec.judge_label
    reward_decimals = decimals([policy.evaluations["reward"]["mean_reward"] for policy in material.policies])
    titles = ["mean reward"]
    judge_decimals = None
    if label is not None:
        judge_decimals = decimals([policy.evaluations["judge"]["mean_reward"] for policy in material.policies])
        titles.append(label)
    titles += ["win rate %", "length-controlled %"]
    if label is not None:
        titles.append(f"win rate by {label} %")
    titles += ["tokens", "truncated %"]
    rows = {policy.name: _row(policy, reward_decimals, judge_decimals) for policy in material.policies}
    return Summary(titles, _mark_best(rows))


def markdown(summary: Summary) -> str:
    """The table in Markdown, columns aligned: to be read as it is, in a terminal."""
    lines = [["policy", *summary.titles]]
    for name, cells in summary.rows.items():
        lines.append([name, *(f"{cell.text} {cell.interval}".strip() for cell in cells)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    aligned = [_line(line, widths) for line in lines]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([aligned[0], rule, *aligned[1:]]) + "\n"


def number(value: float | None, digits: int = 4) -> str:
    """A number with the given significant digits, or a dash for none."""
    return "–" if value is None else f"{value:#.{digits}g}".rstrip(".")


def decimals(values: Sequence[float]) -> int:
    """Decimals that give the largest of a column's values four significant digits, at most four decimals."""
    largest = max(abs(value) for value in values)
    return min(4, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal, without the sign, or a dash for none."""
    return "–" if value is None else f"{100 * value:.1f}"


def _row(policy: Policy, reward_decimals: int, judge_decimals: int | None) -> list[Cell]:
    reward = policy.evaluations["reward"]
    cells = [Cell(f"{reward['mean_reward']:.{reward_decimals}f}")]
    if judge_decimals is not None:
        cells.append(Cell(f"{policy.evaluations['judge']['mean_reward']:.{judge_decimals}f}"))
    cells.append(_win_rate(reward, "win_rate", "win_rate"))
    cells.append(_win_rate(reward, "length_controlled_win_rate", "length_controlled"))
    if judge_decimals is not None:
        cells.append(_win_rate(policy.evaluations["judge"], "win_rate", "win_rate"))
    return [*cells, Cell(f"{reward['mean_tokens']:.1f}"), Cell(percent(reward["truncated"]))]


def _win_rate(row: dict[str, Any], name: str, bounds: str) -> Cell:
    """A win rate with its interval; a dash where the data cannot tell it."""
    if row[name] is None:
        return Cell(percent(None))
    low, high = percent(row[f"{bounds}_low"]), percent(row[f"{bounds}_high"])
    return Cell(percent(row[name]), f"[{low}, {high}]", row[name])


def _mark_best(rows: dict[str, list[Cell]]) -> dict[str, list[Cell]]:
    """Mark the highest value of each column but the last two (length is not better or worse)."""
    columns = len(next(iter(rows.values())))
    marked = {name: list(cells) for name, cells in rows.items()}
    for i in range(columns - 2):
        values = {name: float(cells[i].text) for name, cells in rows.items() if cells[i].text != "–"}
        for name, value in values.items():
            if len(rows) > 1 and value == max(values.values()) and value > min(values.values()):
                cell = rows[name][i]
                marked[name][i] = Cell(cell.text, cell.interval, cell.share, best=True)
    return marked


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"
