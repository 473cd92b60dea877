"""The GPU exam: is this code correct and fast on this GPU? One table, in under ten minutes (`make gpu-exam`).

Every row is printed, and written to the two files, as soon as it is measured: an interrupted exam keeps what it has.
Exit status 1: a row failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from record import NO_GPU, Row, Sheet, not_measured

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
GROUPS = {
    "machine": 60,
    "attention": 60,
    "logprob": 90,
    "training": 120,
    "memory": 120,
    "speed": 210,
    "scoring": 90,
    "fsdp2": 60,
    "head": 120,
    "zero3": 90,
}
"""Modules `<name>_rows.py`, with a timeout in seconds on a GPU: about twice what each should take. What depends on
other software comes last, because it may hang."""
IMPORTS = 15
"""Seconds that a group needs before its first task."""
PACKAGES = ("torch", "transformers", "accelerate", "pyarrow", "pydantic", "triton", "deepspeed", "peft")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="tiny shapes: a test of the exam, for a CPU")
    parser.add_argument("--only", default="", help=f"groups, with commas between them: {', '.join(GROUPS)}")
    parser.add_argument("--minutes", type=float, default=9.5, help="tasks that would end later are left out")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "gpu-exam", help="files, without .md and .json")
    arguments = parser.parse_args()
    groups = arguments.only.split(",") if arguments.only else list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"--only {arguments.only}: there is no group {', '.join(sorted(unknown))}")

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the group's process ends too
    start = time.time()
    sheet = Sheet(arguments.output, {"started": time.strftime("%Y-%m-%d %H:%M:%S"), **versions()})
    with tempfile.TemporaryDirectory() as folder, arguments.output.with_suffix(".log").open("w") as log:
        options: dict[str, Any] = {"device": arguments.device, "small": arguments.small, "folder": folder}
        options |= {
            "ends": start + 60 * arguments.minutes,
            "threads": 1 if arguments.small else len(os.sched_getaffinity(0)),
        }
        for names in processes(groups, arguments.device):
            examine(names, options, sheet, log)
    sheet.facts["minutes"] = round((time.time() - start) / 60, 2)
    sheet.write()
    print(f"\n{sheet.facts['minutes']} minutes. {arguments.output}.md, .json, and .log with what libraries said")
    sys.exit(int(sheet.failed))


def processes(groups: Sequence[str], device: str) -> list[list[str]]:
    """Groups that run in one process. On a GPU each has its own, because an error there can make all later calls fail.

    On a CPU most of a small exam would be imports, so they share one; only distributed training has its own process.
    """
    if device == "cuda":
        return [[name] for name in groups]
    apart = {"zero3"}.intersection(groups)
    return [names for names in ([name for name in groups if name not in apart], sorted(apart)) if names]


def versions() -> dict[str, str]:
    installed = {distribution.name.lower(): distribution.version for distribution in metadata.distributions()}
    return {"python": platform.python_version()} | {
        package: installed[package] for package in PACKAGES if package in installed
    }


def end_session(leader: int) -> None:
    """Kill a process and what it started, if they are still running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def examine(names: Sequence[str], options: dict[str, Any], sheet: Sheet, log: Any) -> None:
    """Add the rows of some groups, measured by a process that is killed after its timeout."""
    if options["device"] == "cuda":
        ends = time.time() + sum(GROUPS[name] for name in names)
        options = {**options, "ends": min(options["ends"], ends)}
    if options["ends"] - time.time() < IMPORTS:
        sheet.add(not_measured(", ".join(names), "the exam's time is over"))
        return
    folders = (HERE, HERE.parent / "benchmarks", HERE.parent / "support", REPOSITORY / "scripts")
    path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, str(HERE / "group.py"), ",".join(names), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # to end what it has started, too
    )
    assert process.stdout is not None
    timer = threading.Timer(options["ends"] - time.time(), end_session, [process.pid])
    timer.start()
    try:
        for line in process.stdout:
            sheet.add(Row(**json.loads(line)))
        status = process.wait()
    finally:
        timer.cancel()
        end_session(process.pid)
    if status == NO_GPU:
        raise SystemExit("torch finds no GPU here; `--device cpu --small` runs this exam on a CPU, with tiny shapes")
    if status:
        why = "its time was over" if time.time() >= options["ends"] else f"status {status}, see the log"
        sheet.add(Row(", ".join(names), f"their process ended: {why}", verdict="FAIL", group=names[-1]))


if __name__ == "__main__":
    main()
