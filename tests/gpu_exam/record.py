"""The rows of the exam's table, and the two files with them: Markdown to read, JSON with every figure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

NO_GPU = 3
"""Exit status of a group's process if it should use a GPU and there is none."""
Verdict = Literal["pass", "FAIL", "measured", "not measured"]
HEAD = "| what | measured | bar | result |\n| --- | --- | --- | --- |"


@dataclass(frozen=True)
class Row:
    """One row: what was measured, the result, and whether it is good enough."""

    what: str
    measured: str
    bar: str = ""
    """The requirement; empty if the figure is only reported."""
    verdict: Verdict = "measured"
    figures: dict[str, Any] = field(default_factory=dict)
    """Everything measured, unrounded, for the JSON file."""
    group: str = ""
    seconds: float = 0.0
    """Wall-clock time of the measurement."""

    def markdown(self) -> str:
        cells = (self.what, self.measured, self.bar, self.verdict)
        return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def judged(what: str, measured: str, bar: str, *, passed: bool | None, **figures: Any) -> Row:
    """A row with a requirement; None if there is none on this device."""
    if passed is None:
        return Row(what, measured, figures=figures)
    return Row(what, measured, bar, "pass" if passed else "FAIL", figures)


def not_measured(what: str, why: str) -> Row:
    return Row(what, f"not measured: {why}", verdict="not measured")


class Sheet:
    """The rows so far. Each is written to both files, and printed, before the next is measured.

    Args:
        stem: path of the files without their ending.
        facts: of the machine and the software.
    """

    def __init__(self, stem: Path, facts: dict[str, Any]) -> None:
        self.stem = stem
        self.facts = facts
        self.rows: list[Row] = []
        stem.parent.mkdir(parents=True, exist_ok=True)
        print(HEAD, flush=True)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write()
        print(row.markdown(), flush=True)

    def write(self) -> None:
        content = {"facts": self.facts, "rows": [asdict(row) for row in self.rows]}
        _replace(self.stem.with_suffix(".json"), json.dumps(content, indent=2) + "\n")
        _replace(self.stem.with_suffix(".md"), self.markdown())

    def markdown(self) -> str:
        facts = [f"- {name}: {value}" for name, value in self.facts.items()]
        return "\n".join(["# GPU exam", "", *facts, "", HEAD, *(row.markdown() for row in self.rows), ""])

    @property
    def failed(self) -> bool:
        return any(row.verdict == "FAIL" for row in self.rows)


def _replace(path: Path, text: str) -> None:
    """Write atomically: whenever the exam is interrupted, the file is complete."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)
