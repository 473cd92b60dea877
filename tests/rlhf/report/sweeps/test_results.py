"""What is said and drawn of a sweep."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rlhf.evaluation.schema import SWEEP
from rlhf.report.style import figure_style
from rlhf.report.sweeps.figures import sweep_figures
from rlhf.report.sweeps.results import SweepResult, outcome, read_sweeps

RATES, ETAS = (1e-7, 3e-7, 1e-6), (1e4, 1e6)


def written(
    folder: Path, changes: list[dict[str, Any]], *, best: int | None, run_deviation: float | None = 0.012
) -> SweepResult:
    """A sweep whose first point is the default; the promoted one is the best, if there is one."""
    rows = []
    for place, changed in enumerate(changes):
        to_default = {
            "difference": 0.02 * place,
            "difference_low": 0.02 * place - 0.05,
            "difference_high": 0.02 * place + 0.05,
            "p_value": 0.01,
            "corrected_p_value": 0.02 if place == best else 0.6,
        }
        rows.append(
            {
                "point": place,
                "name": f"rebel_{place}",
                "changes": json.dumps(changed),
                "runs": 2,
                "prompts": 1000,
                "win_rate": 0.6,
                "length_controlled_win_rate": 0.45 + 0.02 * place,
                **(to_default if place else dict.fromkeys(to_default)),
                "default": place == 0,
                "promoted": 1 if place == (best or 0) else None,
            }
        )
    spec = {"judge": "judge", "confidence": 0.95}
    SWEEP.write(folder / "rates.parquet", rows, {"spec": spec, "versions": {}, "run_deviation": run_deviation})
    (found,) = read_sweeps([folder / "rates.parquet"])
    return found


GRID = [{"learning_rate": rate, "loss.eta": eta} for rate in RATES for eta in ETAS]


def test_a_point_that_is_better_is_named_with_what_was_compared(tmp_path: Path) -> None:
    assert outcome(written(tmp_path, GRID, best=4), "quality") == (
        "6 points, 2 runs each, compared on 1,000 selection prompts by quality, at equal length and corrected for "
        "their number: 1 of them is significantly better than the default, rebel_0. Trained in full: rebel_4. Runs "
        "with other seeds differ by a standard deviation of 1.2 points."
    )


def test_where_nothing_is_better_that_is_said(tmp_path: Path) -> None:
    said = outcome(written(tmp_path, GRID, best=None, run_deviation=None), "the reward")
    assert "none is significantly better than the default, rebel_0: there is no evidence of a difference" in said
    assert "Trained in full: rebel_0. How much of a difference is chance between runs is not known" in said


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        (GRID, {"learning_rate", "loss.eta", "1e-7", "3e-7", "1e6", "45.0 ○", "53.0 ★"}),
        ([{"epochs": 1}, {"epochs": 2}, {"epochs": 4}, {"epochs": 3}, {"epochs": 5}], {"epochs 1 ○", "epochs 5 ★"}),
        (GRID[:5], {"learning_rate 1e-7, eta 1e4 ○"}),
    ],
    ids=["a grid of two keys is a heat map", "one key", "no whole grid"],
)
def test_the_figure_shows_every_point_its_mark_and_its_keys(
    tmp_path: Path, changes: list[dict[str, Any]], labels: set[str]
) -> None:
    with figure_style():
        (drawing,) = sweep_figures([written(tmp_path, changes, best=4)])
    texts = set(re.findall(r">([^<>]+)</text>", drawing.svg))
    assert labels <= texts
    assert drawing.group == "sweeps"
