"""The result of a sweep, in numbers and in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import read_provenance
from rlhf.evaluation.schema import SWEEP


@dataclass(frozen=True)
class SweepResult:
    """A sweep: its points, in the order of the configuration, and what was chosen."""

    name: str
    judge: str
    """`reward` or `judge`."""
    points: list[dict[str, Any]]
    """Rows of `SWEEP`, with `changes` as a mapping."""
    run_deviation: float | None
    """Standard deviation of the win rate between runs of the same settings; None where each point has one run."""
    confidence: float

    @property
    def promoted(self) -> list[dict[str, Any]]:
        """The promoted points, the best first."""
        return sorted((row for row in self.points if row["promoted"]), key=lambda row: row["promoted"])

    @property
    def keys(self) -> list[str]:
        """The keys that differ between the points."""
        names = dict.fromkeys(key for row in self.points for key in row["changes"])
        return [key for key in names if len({json.dumps(row["changes"].get(key)) for row in self.points}) > 1]

    def is_significant(self, row: dict[str, Any]) -> bool:
        """Whether a point is significantly better than the default, after correction for their number."""
        return row["corrected_p_value"] is not None and row["corrected_p_value"] < 1 - self.confidence


def read_sweeps(paths: Sequence[Path]) -> list[SweepResult]:
    """Read the results of sweeps; the name of a file is that of the sweep."""
    found = []
    for path in paths:
        origin = read_provenance(path)
        points = [{**row, "changes": json.loads(row["changes"])} for row in SWEEP.read(path).to_pylist()]
        spec = origin["spec"]
        found.append(SweepResult(path.stem, spec["judge"], points, origin["run_deviation"], spec["confidence"]))
    return found


def outcome(sweep: SweepResult, label: str) -> str:
    """What the sweep found, in sentences.

    Args:
        label: what the judge is called.
    """
    first = sweep.points[0]
    runs = f", {first['runs']} runs each" if first["runs"] > 1 else ""
    compared = (
        f"{len(sweep.points)} points{runs}, compared on {first['prompts']:,} selection prompts by {label}, at equal "
        "length and corrected for their number"
    )
    better = [row for row in sweep.points if sweep.is_significant(row)]
    default = next(row["name"] for row in sweep.points if row["default"])
    named = ", ".join(row["name"] for row in sweep.promoted)
    found = (
        f"{len(better)} of them {'is' if len(better) == 1 else 'are'} significantly better than the default, {default}."
        if better
        else f"none is significantly better than the default, {default}: there is no evidence of a difference."
    )
    noise = (
        "How much of a difference is chance between runs is not known with one run of each."
        if sweep.run_deviation is None
        else f"Runs with other seeds differ by a standard deviation of {100 * sweep.run_deviation:.1f} points."
    )
    return f"{compared}: {found} Trained in full: {named}. {noise}"
