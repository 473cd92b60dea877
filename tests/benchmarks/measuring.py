"""A row of the table: both sides do the same work in turn, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cases import REPOSITORY, Case

Facts = dict[str, Any]
"""What a worker reports about a round, or a row of `benchmarks.json`."""
PIPELINE = "pipeline"
HERE = Path(__file__).resolve().parent
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
MODULES = os.pathsep.join(map(str, (REPOSITORY / "scripts", REPOSITORY / "tests/support", HERE)))


class WorkerError(Exception):
    """A worker exited before its work was done."""


class Worker:
    """A process that does the work of one side on request: the sides take turns, and each has its own memory."""

    def __init__(self, case: Case, way: str, options: dict[str, Any], folder: Path) -> None:
        self.name = f"{case.name} ({way})"
        python = case.python if way == PIPELINE else case.peer_python or case.python
        self.process = subprocess.Popen(
            [str(python or sys.executable), str(HERE / "worker.py"), case.module, way, json.dumps(options), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": MODULES, "TMPDIR": str(folder), "HF_HUB_OFFLINE": "1"},
            start_new_session=True,  # a Ctrl-C is for `run.py`, which ends it with all that it has started
        )

    def wait_until_ready(self) -> None:
        self._answer()

    def round(self) -> Facts:
        """Do one round of the work."""
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

    def kill(self) -> None:
        """Kill it and the processes that it has started, if it is still running."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name} ended early: its output above says why")
        return json.loads(line)


def measure(case: Case, options: dict[str, Any], rounds: int) -> Facts:
    """A row of `benchmarks.json`. The first round is a warm-up; the fastest of the others counts.

    Rounds that divide the work are added up; if the peer does only some of them, its time is extrapolated by the number
    of pairs. Sampled responses differ in length between the sides: `peer_seconds` are scaled to as many tokens as the
    pipeline's.

    Raises:
        WorkerError: see above.
    """
    number = options.get("parts", 0) or 1 + rounds
    done: dict[str, list[Facts]] = {case.peer: [], PIPELINE: []}
    found: Facts = {}
    with both_ways(case, options) as workers:
        for turn in range(number):
            peer_too = turn % options.get("peer_every", 1) == 0
            for way, worker in workers.items():
                if way == PIPELINE or peer_too:
                    done[way].append(worker.round())
            if peer_too:
                for key, difference in differences(done[case.peer][-1], done[PIPELINE][-1]).items():
                    found[key] = max(difference, found.get(key, 0.0))
        peaks = {way: worker.end() for way, worker in workers.items()}
    peer, pipeline = (whole(turns) if case.parts else fastest(turns[1:]) for turns in done.values())
    unit = "pairs" if "pairs" in pipeline else "tokens"
    peer_seconds = peer["seconds"] / peer[unit] * pipeline[unit]
    return {
        "name": case.name,
        "peer": case.peer,
        "peer_seconds": peer_seconds,
        "peer_share": len(done[case.peer]) / number,
        "seconds": pipeline["seconds"],
        "ratio": peer_seconds / pipeline["seconds"],
        "at_least": case.at_least,
        "peer_peak_mb": peaks[case.peer],
        "peak_mb": peaks[PIPELINE],
        "memory_at_most": case.memory_at_most,
        "tokens_per_second": pipeline["tokens"] / pipeline["seconds"],
        "rounds": rounds,
        **{key: value for key, value in pipeline.items() if key not in ("seconds", "scores", "gradient")},
        **found,
    }


@contextlib.contextmanager
def both_ways(case: Case, options: dict[str, Any]) -> Iterator[dict[str, Worker]]:
    """The workers of the peer and of the pipeline, ready to work; on exit they are ended and cleaned up."""
    with contextlib.ExitStack() as stack:
        if options.get("real_pairs"):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            options = {**options, "pairs_file": make_real_pairs(options, Path(folder))}
        workers = {}
        for way in (case.peer, PIPELINE):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            with signals_later():
                workers[way] = Worker(case, way, options, Path(folder))
                stack.callback(workers[way].kill)
        for worker in workers.values():
            worker.wait_until_ready()
        yield workers


@contextlib.contextmanager
def signals_later() -> Iterator[None]:
    """Within, SIGINT and SIGTERM are delayed: a process that is only starting would not be known and be left.

    They are not blocked: that would be for this thread alone, and NumPy has others, which would take them.
    """
    caught: list[int] = []
    before = {number: signal.signal(number, lambda number, _: caught.append(number)) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in caught:
            signal.raise_signal(number)


def make_real_pairs(options: dict[str, Any], folder: Path) -> str:
    """The file of the pairs that both sides read."""
    path = str(folder / "pairs.json")
    source = {**options["real_pairs"], "pairs": options["pairs"], "vocabulary": options["vocabulary"]}
    command = [sys.executable, str(HERE / "real_pairs.py"), json.dumps(source), path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": MODULES})
    return path


def fastest(rounds: list[Facts]) -> Facts:
    return min(rounds, key=lambda done: done["seconds"] / done["tokens"])


def whole(rounds: list[Facts]) -> Facts:
    """Add up rounds that divide the work."""
    added: Facts = {key: sum(done[key] for done in rounds) for key in ("seconds", "tokens", "pairs")}
    if "matrix_share" in rounds[0]:
        added["matrix_share"] = sum(done["matrix_share"] * done["seconds"] for done in rounds) / added["seconds"]
    return added


def differences(peer: Facts, pipeline: Facts) -> Facts:
    """The largest differences between the results of both sides: of values, and of gradients (in files) by norm."""
    found: Facts = {}
    if "scores" in pipeline:
        values = list(zip(peer["scores"], pipeline["scores"], strict=True))
        found["largest_difference"] = max(abs(a - b) for a, b in values)
        found["relative_difference"] = max((abs(a - b) / max(abs(a), abs(b)) for a, b in values if a != b), default=0.0)
    if "gradient" in pipeline:
        expected, own = torch.load(peer["gradient"]), torch.load(pipeline["gradient"])
        found["gradient_difference"] = float((expected - own).norm() / expected.norm())
    return found
