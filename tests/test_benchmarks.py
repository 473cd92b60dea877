"""The entry of `make bench`, at tiny sizes: what it writes, not how fast it is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from environment_pins import pins

REPOSITORY = Path(__file__).resolve().parents[1]
RUN = REPOSITORY / "tests/benchmarks/run.py"
QUICK = [sys.executable, "-u", str(RUN), "--quick", "--output"]
KEYS = {"name", "peer_seconds", "seconds", "ratio", "peer_peak_mb", "peak_mb", "tokens_per_second", "at_least"}
HAS_TRL = (REPOSITORY / ".venv-trl/installed").exists()


def short(row: dict[str, Any]) -> str:
    return row["name"].split(":")[0].split(",")[0]


@pytest.mark.slow
def test_the_table_and_the_file(tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.json"
    done = subprocess.run([*QUICK, output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "left out: vLLM" in done.stdout
    rows = json.loads(output.read_text())
    for row in rows:
        assert row.keys() >= KEYS
        assert row["ratio"] == pytest.approx(row["peer_seconds"] / row["seconds"])
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
        assert min(row["peer_peak_mb"], row["peak_mb"]) > 50
        assert row["took_seconds"] > row["seconds"]
    assert f"row 1 of {len(rows)}: " in done.stdout
    check_values({short(row): row for row in rows})


def check_values(rows: dict[str, dict[str, Any]]) -> None:
    trl = ["log-probabilities against TRL's DPOTrainer", "training against TRL's DPOTrainer"]
    first = ["transformers", "rewards", "log-probabilities", "training"]
    assert list(rows) == [*first, *(trl if HAS_TRL else []), "four pairs per prompt"]
    assert rows["rewards"]["largest_difference"] < 1e-4
    assert rows["rewards"]["computed_tokens"] < rows["rewards"]["tokens"]
    logprobs, training = rows["log-probabilities"], rows["training"]
    assert logprobs["largest_difference"] < 5e-3
    assert logprobs["peer_share"] == 0.5  # the rest of its time is calculated, and only what both computed is compared
    assert training["gradient_difference"] < 1e-4
    assert training["memory_at_most"] == 0.4
    four = rows["four pairs per prompt"]
    assert four["gradient_difference"] < 1e-5 and four["peer"] == "separate pairs"
    assert four["computed_tokens"] == four["tokens"]  # of the prompts and all their draws, each once
    if HAS_TRL:
        assert {rows[name]["peer"] for name in trl} == {"TRL"}
        assert rows[trl[0]]["relative_difference"] < 1e-5
        assert rows[trl[1]]["relative_difference"] < 1e-3  # losses and norms, after an optimizer step too
        assert (rows[trl[1]]["at_least"], rows[trl[1]]["memory_at_most"]) == (3.0, 0.33)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_keeps_its_rows_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    output, folder = tmp_path / "benchmarks.json", tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen([*QUICK, output], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        shown = ""
        while "row 2 of" not in shown:
            shown += run.stdout.readline()
        rows = json.loads(output.read_text())
        while not processes_with(str(folder)):
            time.sleep(0.05)
        run.send_signal(number)
        shown += run.stdout.read()
    assert run.returncode == 130
    assert [short(row) for row in rows] == ["transformers"]
    assert json.loads(output.read_text()) == rows
    assert shown.index("interrupted") < shown.index("not measured:") < shown.index("training, vocabulary 32,000")
    assert not list(folder.iterdir())
    end = time.monotonic() + 10  # a process that was killed is there until its memory is given back
    while processes_with(str(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not processes_with(str(folder))


def processes_with(argument: str) -> list[str]:
    """Command lines of running processes in which an argument begins so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        if "worker.py" in " ".join(command) and any(part.startswith(argument) for part in command):
            found.append(" ".join(command))
    return found


def test_trl_runs_with_the_libraries_of_the_pipeline() -> None:
    shared = pins("trl.txt").keys() & pins("embedded.txt").keys()
    assert {"torch", "transformers", "datasets", "accelerate"} <= shared
    assert {name: pins("trl.txt")[name] for name in shared} == {name: pins("embedded.txt")[name] for name in shared}
