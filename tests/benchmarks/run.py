"""The pipeline against others in the same run, as a table and as JSON (`make bench`, `make bench-all`)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cases import CASES, REPOSITORY, Case
from measuring import Facts, WorkerError, measure
from several_pairs_cases import SEVERAL_PAIRS

INTERRUPTED = 128 + signal.SIGINT
"""Exit status, as a shell gives it."""


def chosen_cases(arguments: argparse.Namespace, console: Console) -> list[Case]:
    """What to measure; prints what is left out, and why."""
    chosen = []
    for case in [*CASES, *SEVERAL_PAIRS]:
        if case.device != arguments.device or arguments.only not in case.name:
            continue
        missing = [os.path.relpath(path, REPOSITORY) for path in case.needs if not path.exists()]
        if missing:
            console.print(f"left out: {case.name}: there is no {missing[0]}")
        elif arguments.quick and case.quick is None:
            console.print(f"left out: {case.name}: --quick")
        elif case.long and not (arguments.all or arguments.quick or arguments.only):
            console.print(f"left out: {case.name}: it takes minutes, see make bench-all")
        else:
            chosen.append(case)
    return chosen


def measure_all(cases: list[Case], arguments: argparse.Namespace, console: Console) -> tuple[list[Facts], bool]:
    """The rows, each written as soon as it is measured, and whether the run was interrupted."""
    rows: list[Facts] = []
    for number, case in enumerate(cases, start=1):
        console.print(f"row {number} of {len(cases)}: {case.name}")
        options = {**case.options, "device": case.device, "matrix_tflops": arguments.matrix_tflops}
        if arguments.quick:
            options.update(case.quick or {})
        start = time.monotonic()
        try:
            row = measure(case, options, 1 if arguments.quick else arguments.rounds)
        except WorkerError as end:
            console.print(f"  {end}")
            continue
        except KeyboardInterrupt:
            console.print("  interrupted")
            return rows, True
        rows.append({**row, "took_seconds": time.monotonic() - start})
        write(rows, arguments.output)
        console.print(f"  {ratio(row)} times as fast, {times(row)} s, {memory(row)} MB; took {since(start)}")
    return rows, False


def write(rows: list[Facts], path: Path) -> None:
    """Rewrite the file atomically: a reader always finds complete rows."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(rows, indent=2) + "\n")
    temporary.replace(path)


def show(rows: list[Facts], console: Console) -> None:
    """Print the table, and below it what was found besides the times."""
    table = Table("work", "ratio", "asked for", "seconds", "peak MB", "tokens/s", caption="the other → the pipeline")
    for row in rows:
        speed = f"{row['tokens_per_second']:,.0f}"
        table.add_row(row["name"], ratio(row), f"{row['at_least']:.1f}", times(row), memory(row), speed)
    console.print(table)
    for row in rows:
        for remark in remarks(row):
            console.print(f"{row['name']}: {remark}")


def remarks(row: Facts) -> list[str]:
    found = []
    if row["peer_share"] < 1:
        found.append(f"seconds of {row['peer']} are calculated from {row['peer_share']:.0%} of the pairs")
    if "largest_difference" in row:
        of_them = f" ({row['relative_difference']:.1g} of them)"
        found.append(f"values differ by at most {row['largest_difference']:.1g}{of_them}")
    if "gradient_difference" in row:
        found.append(f"gradients differ by {row['gradient_difference']:.1g} of their norm")
    if "matrix_share" in row:
        found.append(f"{row['matrix_share']:.0%} of the GPU's matrix rate")
    return found


def ratio(row: Facts) -> str:
    return coloured(f"{row['ratio']:.2f}", row["ratio"] >= row["at_least"])


def times(row: Facts) -> str:
    calculated = "about " if row["peer_share"] < 1 else ""
    return f"{calculated}{row['peer_seconds']:.2f} → {row['seconds']:.2f}"


def memory(row: Facts) -> str:
    """Peak memory; coloured if there is a requirement for it."""
    shown = f"{row['peer_peak_mb']:.0f} → {row['peak_mb']:.0f}"
    if row["memory_at_most"] is None:
        return shown
    return coloured(shown, row["peak_mb"] <= row["memory_at_most"] * row["peer_peak_mb"])


def coloured(text: str, met: bool) -> str:
    return f"[{'green' if met else 'red'}]{text}[/]"


def since(start: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def interrupt(*_: Any) -> None:
    """For SIGINT, which a shell's background jobs ignore, and SIGTERM."""
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of tiny sizes, without vLLM: a test of this")
    parser.add_argument("--all", action="store_true", help="the cases that take long, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where (default: %(default)s)")
    parser.add_argument("--matrix-tflops", type=float, help="the GPU's rate for dense products of bfloat16")
    parser.add_argument("--only", default="", help="cases with this text in their name, those that take long too")
    parser.add_argument("--rounds", type=int, default=2, help="beside one to warm up (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks.json", help="default: %(default)s")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)

    console = Console(width=None if sys.stdout.isatty() else 120)
    start = time.monotonic()
    cases = chosen_cases(arguments, console)
    rows, interrupted = measure_all(cases, arguments, console)
    show(rows, console)
    console.print(f"{len(rows)} of {len(cases)} rows in {since(start)}, in {arguments.output}")
    done = {row["name"] for row in rows}
    if left := [case.name for case in cases if case.name not in done]:
        console.print("not measured:", *(f"  {name}" for name in left), sep="\n")
        sys.exit(INTERRUPTED if interrupted else 1)


if __name__ == "__main__":
    main()
