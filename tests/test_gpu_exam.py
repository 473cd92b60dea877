"""The GPU exam on a CPU, with small shapes: it runs to its end, and what fails or is interrupted stays visible."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.tokens.segment_attention import attend_by_segments
from varlen_reference import flash_on_the_cpu

EXAM = Path(__file__).parent / "gpu_exam"
OTHERS = ["snakemake", "rich", "datasets", "deepspeed", "peft", "bitsandbytes", "pandas", "matplotlib", "sklearn"]
"""Packages of this environment that the exam must not need."""
WITHOUT_THEM = f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.split(".")[0] in {OTHERS} else find(name, path, target)
PathFinder.find_spec = classmethod(find_spec)
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(EXAM / "run.py"), "--small", "--output", str(folder / "exam"), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment})


def rows_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "exam.json").read_text())["rows"]
    return found


@pytest.mark.slow
def test_all_rows_are_measured_but_those_that_need_a_gpu(tmp_path: Path) -> None:
    exam = start(tmp_path, "--device", "cpu", "--minutes", "30")
    output, errors = exam.communicate()
    assert exam.returncode == 0, output + errors + (tmp_path / "exam.log").read_text()[-3000:]
    rows = rows_of(tmp_path)
    table = (tmp_path / "exam.md").read_text()
    for row in rows:
        assert f"| {row['what']} |" in output
        assert f"| {row['what']} |" in table
    left_out = [row for row in rows if row["verdict"] == "not measured"]
    assert {row["measured"] for row in left_out} == {"not measured: no GPU"}
    assert {row["group"] for row in left_out} == {"attention", "logprob", "fsdp2", "speed"}
    judged = {"attention": 5, "logprob": 2, "training": 2, "zero3": 2, "head": 2, "scoring": 1}
    assert {group: sum(row["verdict"] == "pass" for row in rows if row["group"] == group) for group in judged} == judged
    assert {"machine", "memory", "speed"} <= {row["group"] for row in rows if row["verdict"] == "measured"}


@pytest.mark.slow
def test_it_needs_few_packages_and_says_which_rows_need_more(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_THEM)
    exam = start(tmp_path, "--device", "cpu", "--only", "memory,scoring", PYTHONPATH=str(tmp_path))
    output, _ = exam.communicate()
    assert exam.returncode == 0, output
    found = {row["verdict"]: row["measured"] for row in rows_of(tmp_path)}
    assert found["not measured"] == "not measured: peft is not installed"
    assert found.keys() == {"not measured", "measured", "pass"}


def test_an_interrupted_exam_keeps_its_rows(tmp_path: Path) -> None:
    exam = start(tmp_path, "--device", "cpu", "--only", "machine,attention,training")
    assert exam.stdout is not None
    lines = [exam.stdout.readline() for _ in range(4)]
    exam.send_signal(signal.SIGTERM)
    assert exam.wait() == 128 + signal.SIGTERM
    rows = rows_of(tmp_path)
    assert lines[2].startswith(f"| {rows[0]['what']} |")
    assert lines[3].startswith(f"| {rows[1]['what']} |")
    assert rows[1]["what"] in (tmp_path / "exam.md").read_text()


def test_without_a_gpu_it_says_how_to_run_it_nevertheless(tmp_path: Path) -> None:
    exam = start(tmp_path, "--only", "machine", CUDA_VISIBLE_DEVICES="")
    _, errors = exam.communicate()
    assert exam.returncode == 1
    assert "torch finds no GPU here; `--device cpu --small`" in errors


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Modules of the exam by name."""
    before = set(sys.modules)
    for folder in (EXAM.parent / "benchmarks", EXAM):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(EXAM) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_rows_of_flash_attention(module: Callable[[str], Any]) -> None:
    """With a kernel of plain torch in its place."""
    rows = module("attention_rows")
    device = torch.device("cpu")
    options = rows.AttentionOptions(rows.SMALL.width**-0.5, rows.SMALL.window)
    with flash_on_the_cpu():
        (flash,) = rows.compare("", "flash", torch.bfloat16, options, rows.SMALL, device)
        (reached,) = rows.reached(device)
    assert (flash.verdict, reached.verdict) == ("pass", "pass")
    assert 1e-3 < flash.figures["output"] < 1e-2
    assert reached.figures["calls"] == 3


def test_attention_that_sees_a_token_more_fails(module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = module("attention_rows")
    options = rows.AttentionOptions(rows.SMALL.width**-0.5, rows.SMALL.window)
    wider = rows.AttentionOptions(options.scaling, rows.SMALL.window + 1)
    monkeypatch.setattr(rows, "attend_by_segments", lambda q, k, v, pack, _: attend_by_segments(q, k, v, pack, wider))
    (row,) = rows.compare("", "segments", torch.float32, options, rows.SMALL, torch.device("cpu"))
    assert row.verdict == "FAIL"


def test_a_task_that_raises_is_a_failed_row_and_the_next_one_is_measured(
    module: Callable[[str], Any], tmp_path: Path
) -> None:
    tasks = module("tasks")
    exam = tasks.Exam(torch.device("cpu"), True, tmp_path, time.time() + 60)
    reported: list[Any] = []

    def breaks() -> Iterator[Any]:
        yield tasks.Row("before", "1")
        raise RuntimeError("out of memory\nand more")

    carried = [tasks.Task("breaks", 1, breaks), tasks.Task("goes on", 1, lambda: [tasks.Row("after", "2")])]
    tasks.carry_out(carried, exam, reported.append)
    assert [(row.what, row.measured, row.verdict) for row in reported] == [
        ("before", "1", "measured"),
        ("breaks", "RuntimeError: out of memory", "FAIL"),
        ("after", "2", "measured"),
    ]
    assert "in breaks" in reported[1].figures["traceback"]


def test_a_task_that_no_longer_fits_the_time_is_not_begun(module: Callable[[str], Any], tmp_path: Path) -> None:
    tasks = module("tasks")
    exam = tasks.Exam(torch.device("cuda", 0), False, tmp_path, time.time() + 10)
    reported: list[Any] = []
    tasks.carry_out([tasks.Task("long", 100, lambda: 1 / 0)], exam, reported.append)
    assert reported[0].verdict == "not measured"
    assert reported[0].measured.startswith("not measured: it takes 100 s, and ")


@pytest.mark.parametrize(
    ("given", "there", "used"),
    [((), False, "python3"), ((), True, ".venv/bin/python"), (("PYTHON=/opt/python",), True, "/opt/python")],
)
def test_make_installs_nothing(tmp_path: Path, given: tuple[str, ...], there: bool, used: str) -> None:
    if there:
        (tmp_path / ".venv/bin").mkdir(parents=True)
        (tmp_path / ".venv/bin/python").touch()
    command = ["make", "--dry-run", f"--file={EXAM.parents[1] / 'Makefile'}", "gpu-exam", "ARGS=--small", *given]
    # As from a shell: the make that runs the tests tells the makes below it to name their folders.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=alone)
    assert done.stdout == f"{used} tests/gpu_exam/run.py --small\n"
