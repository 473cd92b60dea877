"""A benchmark's spec, and the environment that has the benchmark libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from rlhf.benchmarks.settings import BenchmarkSpec, BenchmarkTask, JudgeSpec

PYTHON = Path(__file__).resolve().parents[2] / ".venv-evaluation/bin/python"
JUDGED = ("alpaca_eval", "arena_hard", "mt_bench")


def evaluation_python() -> str:
    """The interpreter that has EvalScope and alpaca_eval; the test is skipped where there is none."""
    if not PYTHON.exists():
        pytest.skip("there is no environment with EvalScope: `make .venv-evaluation/installed` says why")
    imported = subprocess.run([PYTHON, "-c", "import evalscope, alpaca_eval"], capture_output=True, text=True)
    if imported.returncode:
        pytest.skip(f"EvalScope cannot be imported here: {imported.stderr.splitlines()[-1]}")
    return str(PYTHON)


def benchmark_spec(name: str, data: Path | None, **options: Any) -> BenchmarkSpec:
    """Of a benchmark with questions in `data`; `options` are those of the task."""
    judge = JudgeSpec(url=None, model="instructed-judge", source=None, max_tokens=300)
    return BenchmarkSpec(
        benchmark=name,
        policy="rebel-1",
        model=None,
        precision="bfloat16",
        seed=3,
        task=BenchmarkTask(data=None if data is None else str(data), few_shot=0, **options),
        data_fingerprint=None,
        judge=judge if name in JUDGED else None,
    )
