"""The entry of `make bench`, at a tiny size: what it writes, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "benchmarks/run.py"
KEYS = {"name", "tutorial_seconds", "seconds", "ratio", "tutorial_peak_mb", "peak_mb", "tokens_per_second", "at_least"}


def test_the_table_and_the_file(tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.json"
    done = subprocess.run([sys.executable, RUN, "--quick", "--output", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "left out: vLLM" in done.stdout
    rows = json.loads(output.read_text())
    assert len(rows) == 2
    for row in rows:
        assert row.keys() >= KEYS
        assert row["ratio"] == pytest.approx(row["tutorial_seconds"] / row["seconds"])
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
        assert min(row["tutorial_peak_mb"], row["peak_mb"]) > 50
    scoring = rows[-1]
    assert scoring["largest_difference"] < 1e-4
    assert scoring["computed_tokens"] < scoring["tokens"]
