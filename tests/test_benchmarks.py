"""The entry of `make bench`, at a tiny size: what it writes, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "benchmarks/run.py"
NAMES = ["transformers", "rewards", "log-probabilities", "training"]
KEYS = {"name", "tutorial_seconds", "seconds", "ratio", "tutorial_peak_mb", "peak_mb", "tokens_per_second", "at_least"}


@pytest.mark.slow
def test_the_table_and_the_file(tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.json"
    done = subprocess.run([sys.executable, RUN, "--quick", "--output", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "left out: vLLM" in done.stdout
    rows = json.loads(output.read_text())
    assert [row["name"].split(":")[0].split(",")[0] for row in rows] == NAMES
    for row in rows:
        assert row.keys() >= KEYS
        assert row["ratio"] == pytest.approx(row["tutorial_seconds"] / row["seconds"])
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
        assert min(row["tutorial_peak_mb"], row["peak_mb"]) > 50
    _, scoring, logprobs, training = rows
    assert scoring["largest_difference"] < 1e-4
    assert scoring["computed_tokens"] < scoring["tokens"]
    assert logprobs["largest_difference"] < 5e-3  # of sums of several thousand
    assert training["gradient_difference"] < 1e-4
    assert training["memory_at_most"] == 0.4
