"""Processes of the benchmark libraries, and what is made of the files that they leave; without the libraries."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.base.errors import UserError
from rlhf.benchmarks.suites import child
from rlhf.benchmarks.suites.child import StoppedError, fresh_folder, main_of_child, question_id, run_child
from rlhf.benchmarks.suites.evalscope_files import number_of_questions, read_evalscope

PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from rlhf.base.errors import UserError
from rlhf.benchmarks.suites.child import main_of_child

def run(work, task):
    print("a secret question", flush=True)
    if "raise" in task:
        raise (UserError("our own words") if task["raise"] == "UserError" else ValueError("a secret answer"))
    if "kill" in task:
        os.kill(os.getpid(), task["kill"])
    (work / "environment").write_text("\\n".join(f"{name}={value}" for name, value in os.environ.items()))
    if "sleep" in task:
        helper = subprocess.Popen(["sleep", "600"])
        (work / "helper").write_text(str(helper.pid))
        time.sleep(600)

main_of_child(run)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program beside the project's own, as a folder of modules."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "a_library.py").write_text(PROGRAM)
    (scripts / "rlhf").symlink_to(child.SCRIPTS / "rlhf")
    monkeypatch.setattr(child, "SCRIPTS", scripts)
    return "a_library"


def test_it_gets_our_variables_and_no_other_servers(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("EVALSCOPE_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    work = fresh_folder(tmp_path / "work")
    run_child(module, work, {}, {"POLICY_URL": "http://127.0.0.1:1/v1"})
    found = (work / "environment").read_text()
    assert "POLICY_URL=http://127.0.0.1:1/v1" in found and "NO_PROXY=internal.example,127.0.0.1,localhost" in found
    assert "another" not in found and "elsewhere" not in found and "HF_HUB_DISABLE_TELEMETRY=1" in found


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            {"raise": "ValueError"},
            r"a_library: builtins\.ValueError, raised in a_library\.py, line 10\. Its log, .*log",
        ),
        ({"raise": "UserError"}, "a_library: our own words"),
        ({"kill": 9}, "a_library: the process was ended by signal 9"),
    ],
)
def test_a_failure_says_what_it_was_and_shows_no_texts(
    task: dict[str, Any], message: str, module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = fresh_folder(tmp_path / "work")
    with pytest.raises(UserError, match=message) as caught:
        run_child(module, work, task, {})
    assert "secret" not in str(caught.value) + "".join(capfd.readouterr())
    assert "secret question" in (work / "log").read_text()


@pytest.mark.parametrize("how", ["stop", "exception"])
def test_what_it_has_started_ends_with_it(how: str, module: str, tmp_path: Path) -> None:
    work = fresh_folder(tmp_path / "work")
    seen = work / "helper"

    def stop() -> bool:
        if how == "exception" and seen.exists() and seen.read_text():
            raise KeyboardInterrupt
        return seen.exists() and bool(seen.read_text())

    started = time.monotonic()
    with pytest.raises(StoppedError if how == "stop" else KeyboardInterrupt):
        run_child(module, work, {"sleep": True}, {}, stop)
    assert time.monotonic() - started < 60
    helper = int(seen.read_text())
    gone = time.monotonic() + 10
    while psutil.pid_exists(helper) and psutil.Process(helper).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < gone
        time.sleep(0.05)


def test_a_library_that_fails_as_it_is_stopped_was_stopped(module: str, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run_child(module, fresh_folder(tmp_path / "work"), {"raise": "ValueError"}, {}, lambda: True)


def test_a_folder_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "work/predictions").mkdir(parents=True)
    assert list(fresh_folder(tmp_path / "work").iterdir()) == []


def test_a_child_leaves_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["program", str(tmp_path)])

    def fail(work: Path, task: dict[str, Any]) -> None:
        raise KeyError("a secret")

    with pytest.raises(KeyError):
        main_of_child(fail)
    assert "secret" not in (tmp_path / "failure.json").read_text()


def test_names_of_questions_tell_texts_apart() -> None:
    assert question_id("main", 3, ["a", "b"]).startswith("main-00003-")
    assert question_id("main", 3, ["a", "b"]) != question_id("main", 3, ["ab"])


def save_run(work: Path, scores: list[float | None], **changes: Any) -> None:
    """What EvalScope leaves of a task with one question per score; None is a score that failed."""
    identity = {"name": "accuracy", "aggregation": "mean", "dimensions": {}}
    known = [score for score in scores if score is not None]
    result = {"metric_name": "accuracy", "aggregation": "mean", "dimensions": {}, "score": sum(known) / len(known)}
    questions = [
        {"subset": "main", "index": n, "texts": ["?"], "target": "", "capability": None, "refused": False}
        for n in range(len(scores))
    ]
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    reviews = [
        {"index": n, "sample_score": {"score": {
            "value": {} if score is None else {"accuracy": score},
            "status": "success", "main_score_name": "accuracy", "judge_summary": None, "metadata": {},
        }}}
        for n, score in enumerate(scores)
    ]  # fmt: skip
    files = {
        "questions.jsonl": questions,
        "predictions/policy/task_main.jsonl": [{"index": n, "messages": said} for n in range(len(scores))],
        "reviews/policy/task_main.jsonl": reviews,
        "results.json": [["main", result | changes]],
        "reports/policy/task.json": {"primary_metric_identity": identity},
    }
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = name.endswith("jsonl") and isinstance(content, list)
        path.write_text("".join(json.dumps(line) + os.linesep for line in content) if lines else json.dumps(content))


def test_rows_are_whole_or_refused(tmp_path: Path) -> None:
    assert number_of_questions(tmp_path) is None
    save_run(tmp_path, [1.0, 0.0, 1.0])
    assert number_of_questions(tmp_path) == 3
    measured = read_evalscope(tmp_path, "task")
    assert [row["score"] for row in measured.rows] == [1.0, 0.0, 1.0] and measured.published == {}
    reviews = tmp_path / "reviews/policy/task_main.jsonl"
    reviews.write_text("".join(reviews.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="of 3 questions, EvalScope answered and scored 3 and 2"):
        read_evalscope(tmp_path, "task")


def test_a_score_that_failed_and_another_mean_are_refused(tmp_path: Path) -> None:
    save_run(tmp_path, [1.0, None, 0.0])
    with pytest.raises(UserError, match="could not score 1 of 3 answers"):
        read_evalscope(tmp_path, "task")
    save_run(tmp_path, [1.0, 1.0, 0.0], score=0.6667)
    with pytest.raises(
        UserError, match=r"the mean of the questions' scores is 0\.666667, and EvalScope's result 0\.6667"
    ):
        read_evalscope(tmp_path, "task")
    save_run(tmp_path, [1.0, 1.0, 0.0], metric_name="f1")
    with pytest.raises(UserError, match="EvalScope's result None"):
        read_evalscope(tmp_path, "task")
