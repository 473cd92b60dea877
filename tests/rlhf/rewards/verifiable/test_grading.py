"""Grades from several processes: as if made here, within limits of time and memory, and no process is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from chats import conversations
from rlhf.base.errors import UserError
from rlhf.machine.progress import Progress
from rlhf.rewards.scorer import Conversation, Score, ScoringJob
from rlhf.rewards.verifiable import grading
from rlhf.rewards.verifiable.grading import TOO_MUCH, Grade, grade, within_limits
from small_graders import by_length, deadly, endless, greedy, refusing

SUPPORT = Path(__file__).resolve().parents[3] / "support"
SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"
GRADE_AND_WAIT = """
import sys
from functools import partial
from chats import conversations
from rlhf.machine.progress import Progress
from rlhf.rewards.scorer import ScoringJob
from rlhf.rewards.verifiable.grading import grade
from small_graders import patient
with Progress(2, "", "") as progress:
    job = ScoringJob(progress, 0, 2, "auto", None, None, None, (), None)
    grade(partial(patient, sys.argv[1]), conversations([("p", str(n)) for n in range(64)]), job)
"""


@pytest.fixture
def job() -> Iterator[Callable[[int], ScoringJob]]:
    """A scoring job with this number of threads."""
    with Progress(0, "responses", "scoring") as progress:
        yield lambda threads: ScoringJob(progress, 0, threads, "auto", None, None, None, (), None)


@pytest.mark.parametrize("threads", [1, 3])
def test_grades_are_in_order_and_counted(job: Callable[[int], ScoringJob], threads: int) -> None:
    texts = conversations([("p", "x" * (n % 41)) for n in range(100)])
    scores, facts = grade(partial(by_length, 40), texts, job(threads), ["sympy"])
    lengths = [len(one.response) for one in texts]
    assert scores == [Score(n / 40) if n else Score(None, "no_reward") for n in lengths]
    short, long = sum(0 < n <= 20 for n in lengths), sum(n > 20 for n in lengths)
    assert facts["grading"] == {"empty": 3, "long": long, "short": short}
    assert list(facts["libraries"]) == ["sympy"]


def test_no_conversations(job: Callable[[int], ScoringJob]) -> None:
    assert grade(partial(by_length, 40), [], job(1)) == ([], {"grading": {}, "libraries": {}})


def one(response: str) -> Conversation:
    return conversations([("p", response)])[0]


def test_a_response_that_takes_too_long_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "SECONDS", 0.1)
    start = time.monotonic()
    assert within_limits(endless, one("endless")) == Grade(0.0, TOO_MUCH)
    assert 0.1 <= time.monotonic() - start < 5
    assert within_limits(endless, one("")) == Grade(1.0, "ended")
    time.sleep(0.3)  # no signal comes later


def test_a_response_that_takes_too_much_memory_is_not_right(job: Callable[[int], ScoringJob]) -> None:
    scores, facts = grade(greedy, conversations([("p", "a"), ("p", "greedy"), ("p", "b")]), job(1))
    assert [score.value for score in scores] == [1.0, 0.0, 1.0]
    assert facts["grading"] == {"ended": 2, TOO_MUCH: 1}


def test_an_error_for_the_user_arrives(job: Callable[[int], ScoringJob]) -> None:
    with pytest.raises(UserError, match="no grade for 'a'"):
        grade(refusing, [one("a")], job(2))


def test_a_killed_process_is_an_error_and_not_a_wait(job: Callable[[int], ScoringJob]) -> None:
    with pytest.raises(UserError, match="was killed, as happens where memory is short: raise `mem_mb`"):
        grade(deadly, [one("a")], job(2))


def test_processes_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": f"{SCRIPTS}:{SUPPORT}"}
    program = subprocess.Popen([sys.executable, "-c", GRADE_AND_WAIT, str(tmp_path)], env=environment)
    end = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < end and program.poll() is None
        time.sleep(0.05)
    program.kill()
    program.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < end
        time.sleep(0.05)
