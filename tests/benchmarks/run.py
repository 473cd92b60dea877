"""The pipeline's way against the tutorial's in the same run, as a table and as JSON (`make bench`)."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from cases import CASES, REPOSITORY, Case
from rich.console import Console
from rich.table import Table

WAYS = ("tutorial", "pipeline")
HERE = Path(__file__).resolve().parent


class Worker:
    """A process that does one way's work whenever it is asked to: the ways take turns, each has its own memory."""

    def __init__(self, case: Case, way: str, options: dict[str, Any]) -> None:
        self.name = f"{case.name} ({way})"
        python = str(case.python or sys.executable)
        modules = os.pathsep.join(map(str, (REPOSITORY / "scripts", REPOSITORY / "tests", HERE)))
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), case.module, way, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": modules},
        )

    def wait_until_ready(self) -> None:
        self._answer()

    def round(self) -> dict[str, Any]:
        """Do the work once."""
        assert self.process.stdin is not None
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> float:
        """Peak memory, MiB."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        peak = float(self._answer())
        self.process.wait()
        return peak

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early: its output above says why")
        return json.loads(line)


def measure(case: Case, options: dict[str, Any], rounds: int) -> dict[str, Any]:
    """A row of `benchmarks.json`. The first round warms up; of the others the fastest counts, as the others waited.

    Rounds that share the work are added up. Sampled responses differ in length between the ways: `tutorial_seconds` are
    for as many tokens as the pipeline's.
    """
    workers = {way: Worker(case, way, options) for way in WAYS}
    for worker in workers.values():
        worker.wait_until_ready()
    done: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.get("parts", 0) or 1 + rounds):
        for way, worker in workers.items():
            done[way].append(worker.round())
    gradients = [done[way][-1].get("gradient") for way in WAYS]
    found = {"gradient_difference": relative_difference(*map(str, gradients))} if all(gradients) else {}
    peaks = {way: worker.end() for way, worker in workers.items()}
    tutorial, pipeline = (whole(done[way]) if case.parts else fastest(done[way][1:]) for way in WAYS)
    tutorial_seconds = tutorial["seconds"] / tutorial["tokens"] * pipeline["tokens"]
    facts = {key: value for key, value in pipeline.items() if key not in ("seconds", "scores", "gradient")} | found
    if "scores" in pipeline:
        pairs = zip(tutorial["scores"], pipeline["scores"], strict=True)
        facts["largest_difference"] = max(abs(a - b) for a, b in pairs)
    return {
        "name": case.name,
        "tutorial_seconds": tutorial_seconds,
        "seconds": pipeline["seconds"],
        "ratio": tutorial_seconds / pipeline["seconds"],
        "at_least": case.at_least,
        "tutorial_peak_mb": peaks["tutorial"],
        "peak_mb": peaks["pipeline"],
        "memory_at_most": case.memory_at_most,
        "tokens_per_second": pipeline["tokens"] / pipeline["seconds"],
        "rounds": rounds,
        **facts,
    }


def fastest(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return min(rounds, key=lambda done: done["seconds"] / done["tokens"])


def whole(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Rounds that share the work as one."""
    added: dict[str, Any] = {key: sum(done[key] for done in rounds) for key in ("seconds", "tokens")}
    if "matrix_share" in rounds[0]:
        added["matrix_share"] = sum(done["matrix_share"] * done["seconds"] for done in rounds) / added["seconds"]
    return {**added, "scores": [value for done in rounds for value in done["scores"]]}


def relative_difference(tutorial: str, pipeline: str) -> float:
    """Of two gradients in files, by their norms."""
    expected, found = torch.load(tutorial), torch.load(pipeline)
    return float((expected - found).norm() / expected.norm())


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the table, and below it what was found beside the times."""
    table = Table("work", "ratio", "asked for", "seconds", "peak MB", "tokens/s", caption="tutorial → pipeline")
    for row in rows:
        met = row["ratio"] >= row["at_least"]
        table.add_row(
            row["name"],
            f"[{'green' if met else 'red'}]{row['ratio']:.2f}[/]",
            f"{row['at_least']:.1f}",
            f"{row['tutorial_seconds']:.2f} → {row['seconds']:.2f}",
            memory(row),
            f"{row['tokens_per_second']:,.0f}",
        )
    console.print(table)
    for row in rows:
        if "largest_difference" in row:
            console.print(f"{row['name']}: values differ by at most {row['largest_difference']:.1g}")
        if "gradient_difference" in row:
            console.print(f"{row['name']}: gradients differ by {row['gradient_difference']:.1g} of their norm")
        if "matrix_share" in row:
            console.print(f"{row['name']}: {row['matrix_share']:.0%} of the GPU's matrix rate")


def memory(row: dict[str, Any]) -> str:
    """Peaks; coloured where a share of the tutorial's is asked for."""
    shown = f"{row['tutorial_peak_mb']:.0f} → {row['peak_mb']:.0f}"
    if row["memory_at_most"] is None:
        return shown
    met = row["peak_mb"] <= row["memory_at_most"] * row["tutorial_peak_mb"]
    return f"[{'green' if met else 'red'}]{shown}[/]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of tiny sizes, without vLLM: a test of this")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where (default: %(default)s)")
    parser.add_argument("--matrix-tflops", type=float, help="the GPU's rate for dense products of bfloat16")
    parser.add_argument("--only", default="", help="cases with this text in their name")
    parser.add_argument("--rounds", type=int, default=3, help="beside one to warm up (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks.json", help="default: %(default)s")
    arguments = parser.parse_args()

    console, rows = Console(width=None if sys.stdout.isatty() else 120), []
    for case in CASES:
        if case.device != arguments.device or arguments.only not in case.name:
            continue
        missing = [os.path.relpath(path, REPOSITORY) for path in case.needs if not path.exists()]
        if missing or (arguments.quick and case.quick is None):
            console.print(f"left out: {case.name}: {f'there is no {missing[0]}' if missing else '--quick'}")
            continue
        options = {**case.options, "device": case.device, "matrix_tflops": arguments.matrix_tflops}
        if arguments.quick:
            options.update(case.quick or {})
        console.print(f"measuring: {case.name}")
        rows.append(measure(case, options, 1 if arguments.quick else arguments.rounds))
    show(rows, console)
    arguments.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
