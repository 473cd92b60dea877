"""The summary table: numbers as text, and the table as aligned Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.base.settings import canonical_json
from rlhf.benchmarks.catalogue import CATALOGUE, title
from rlhf.benchmarks.schema import LENGTH_CONTROLLED, PUBLISHED_LENGTH_CONTROLLED, PUBLISHED_WIN_RATE, SCORE
from rlhf.logprobs.schema import Drift
from rlhf.report.material import Material, Policy

BETTER_THAN = {"win_rate": "better_than", "length_controlled_win_rate": "length_controlled_better_than"}
"""Win rate -> the column that says than how many others the policy is better by it."""


@dataclass(frozen=True)
class Cell:
    """A number as text."""

    text: str
    interval: str = ""
    """`[low, high]`, or nothing."""
    share: float | None = None
    """The value of a win rate, 0 to 1, for a bar behind it."""
    best: bool = False
    """Whether the policy is significantly better by it than every other one."""


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
    if not any(policy.drift for policy in material.policies):
        return Summary(titles, rows)
    drifts = {policy.name: _drift(policy) for policy in material.policies}
    return Summary([*titles, "KL to base", "KL per token"], {name: [*rows[name], *drifts[name]] for name in rows})


def summarize_benchmarks(material: Material) -> Summary | None:
    """The table of the benchmarks: a row per policy, then one per label of published figures; None without any."""
    found = {(row["policy"], row["benchmark"], row["metric"]): row for row in material.benchmarks}
    if not found:
        return None
    columns = [(name, metric, difference) for name in dict.fromkeys(name for _, name, _ in found)
               for metric, difference in _columns({metric for _, other, metric in found if other == name})
               if not difference or _is_task(name)]  # fmt: skip
    rows = {
        policy.name: [_benchmark_cell(found.get((policy.name, name, metric)), difference)
                      for name, metric, difference in columns]
        for policy in material.policies
    }  # fmt: skip
    for label, figures in material.spec.published.items():
        rows[label] = [_published_cell(figures, *column) for column in columns]
    return Summary([_benchmark_title(*column) for column in columns], rows)


def model_cards(material: Material) -> dict[str, str]:
    """For each policy with benchmarks: the text for its model card, with results as the hub reads them, in Markdown."""
    cards = {}
    for policy in material.policies:
        rows = [row for row in material.benchmarks if row["policy"] == policy.name and row["score"] is not None]
        if not rows:
            continue
        index = [{"name": f"{material.spec.experiment} {policy.name}", "results": list(map(_hub_result, rows))}]
        lines = ["---", f"model-index: {canonical_json(index)}", "---", "", f"# {policy.name}", ""]
        lines += ["| benchmark | score | difference to base |", "| --- | --: | --: |"]
        for row in rows:
            name = _benchmark_title(row["benchmark"], row["metric"], difference=False)
            cells = [_benchmark_cell(row, difference) for difference in (False, True)]
            lines.append(f"| {name} | " + " | ".join(f"{cell.text} {cell.interval}".strip() for cell in cells) + " |")
        cards[policy.name] = "\n".join([*lines, ""])
    return cards


def _hub_result(row: dict[str, Any]) -> dict[str, Any]:
    """A result in the form of the hub's `model-index`; shares in percent."""
    name = _benchmark_title(row["benchmark"], row["metric"], difference=False)
    value = row["score"] if _is_rating(row["benchmark"]) else 100 * row["score"]
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": title(row["benchmark"]), "type": row["benchmark"]},
        "metrics": [{"type": row["metric"], "name": name, "value": round(value, 2)}],
    }


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


def _drift(policy: Policy) -> list[Cell]:
    """Of `base` it is zero by definition; a dash where it was not measured."""
    found = Drift(0.0, None, 0.0) if policy.name == "base" else policy.drift
    if found is None:
        return [Cell("–"), Cell("–")]
    error = "" if found.error is None else f"± {found.error:.4f}"
    return [Cell(f"{found.per_response:.4f}", error), Cell(f"{found.per_token:.4f}")]


def _win_rate(row: dict[str, Any], name: str, bounds: str) -> Cell:
    """A win rate with its interval; a dash where the data cannot tell it."""
    if row[name] is None:
        return Cell(percent(None))
    low, high = percent(row[f"{bounds}_low"]), percent(row[f"{bounds}_high"])
    return Cell(percent(row[name]), f"[{low}, {high}]", row[name], best=is_best(row, BETTER_THAN[name]))


def is_best(row: Mapping[str, Any], count: str = "better_than") -> bool:
    """Whether a policy is significantly better than every other one, after correction for so many comparisons.

    Args:
        row: of the evaluation with the length control, by one judge.
        count: the column that says than how many it is better.
    """
    return bool(row[count] > 0 and row[count] == row["compared"] - 1)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


def _columns(metrics: set[str]) -> list[tuple[str, bool]]:
    """(metric, whether it is the difference to `base`) of a benchmark's columns: what a library computes as published
    is shown instead of ours."""
    controlled = [metric for metric in (PUBLISHED_LENGTH_CONTROLLED, LENGTH_CONTROLLED) if metric in metrics][:1]
    rate = PUBLISHED_WIN_RATE if PUBLISHED_WIN_RATE in metrics else SCORE
    return [*((metric, False) for metric in controlled), (rate, False), (SCORE, True)]


def _is_task(name: str) -> bool:
    """Whether a benchmark has known answers: what the policy forgot shows there."""
    return name not in CATALOGUE or not CATALOGUE[name].judge_requests


def _benchmark_title(name: str, metric: str, difference: bool) -> str:
    if difference:
        return f"{title(name)}, change"
    if metric == LENGTH_CONTROLLED:
        return f"{title(name)}, length-controlled (ours) %"
    if metric == PUBLISHED_LENGTH_CONTROLLED:
        return f"{title(name)}, length-controlled %"
    return title(name) if _is_rating(name) else f"{title(name)} %"


def _is_rating(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].rating


def _benchmark_cell(row: dict[str, Any] | None, difference: bool) -> Cell:
    """A score or a difference with its interval; a dash where there is none."""
    name = "difference" if difference else "score"
    if row is None or row[name] is None:
        return Cell("–")
    if _is_rating(row["benchmark"]):
        value, low, high = (
            None if row[key] is None else f"{row[key]:.2f}" for key in (name, f"{name}_low", f"{name}_high")
        )
    else:
        sign = "+" if difference else ""
        value, low, high = (
            None if row[key] is None else f"{100 * row[key]:{sign}.1f}" for key in (name, f"{name}_low", f"{name}_high")
        )
    return Cell(str(value), "" if low is None else f"[{low}, {high}]")


def _published_cell(figures: Mapping[str, float], name: str, metric: str, difference: bool) -> Cell:
    key = f"{name}_lc" if metric in (LENGTH_CONTROLLED, PUBLISHED_LENGTH_CONTROLLED) else name
    if difference or key not in figures:
        return Cell("–")
    return Cell(f"{figures[key]:.2f}" if _is_rating(name) else f"{figures[key]:.1f}")
