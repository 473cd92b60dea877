"""EvalScope for real, against servers that play policy and judge, in an environment of its own (`.venv-evaluation`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark_questions import QUESTIONS, save_questions, save_sentence_rules
from benchmark_server import Body, ChatServer, Reply, judge, last_text, number, policy
from benchmark_suites import benchmark_spec, evaluation_python
from rlhf.base.errors import UserError
from rlhf.benchmarks.evalscope_suite import measure
from rlhf.benchmarks.schema import BENCHMARK
from rlhf.benchmarks.suites.child import StoppedError

pytestmark = pytest.mark.slow
CLOSED = "http://127.0.0.1:9"
"""Nothing listens there."""
BETTER = policy(lambda n: 1 + n % 3, lambda n: n % 2 == 0)


@pytest.fixture(scope="module")
def python() -> str:
    return evaluation_python()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return save_questions(tmp_path / "questions")


class Run:
    """A benchmark, run against both servers; its rows are checked against the schema."""

    def __init__(self, name: str, folder: Path | None, python: str, tmp_path: Path, **changes: Any) -> None:
        reply = changes.pop("policy", BETTER)
        verdict = changes.pop("judge", judge)
        arguments = {key: changes.pop(key) for key in ("stop", "expect", "in_flight", "answers_only") if key in changes}
        self.work = tmp_path / f"work-{name}"
        with ChatServer(reply) as asked, ChatServer(verdict) as judging:
            self.asked, self.judged = asked.bodies, judging.bodies
            spec = benchmark_spec(name, folder, **changes)
            found = measure(spec, asked.url, judging.url, self.work, python=python, **arguments)
        self.rows, self.published = found.rows, found.published
        if self.rows:
            BENCHMARK.write(tmp_path / "rows.parquet", self.rows, {})

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def test_arena_hard_compares_in_both_orders(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    run = Run("arena_hard", folders["arena_hard"], python, tmp_path)
    assert len(run.asked) == QUESTIONS and len(run.judged) == 2 * QUESTIONS
    assert run.column("score") == [0.5, 0.75, 1.0] * 2
    assert run.column("verdicts") == [[0.5, 0.5], [0.75, 0.75], [1.0, 1.0]] * 2
    assert run.published == {"published_win_rate": pytest.approx((2 * 0.5 + 2 + 2 * 3) / (2 + 2 + 2 * 3))}
    first = run.rows[1]
    assert first["question"] == ["Question 1: say something."] and first["answer"] == ["An answer, good good."]
    assert (first["category"], first["length"], first["reference_length"], first["tokens"]) == ("talk", 21, 31, 4)
    texts = [text for text in map(last_text, run.judged) if "An answer" in text]
    shown = {(number(text), text.index("An answer") < text.index("A good")) for text in texts}
    assert shown == {(n, order) for n in (1, 2, 4, 5) for order in (True, False)}


def test_an_equal_policy_wins_half_and_a_worse_one_less(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    equal = Run("arena_hard", folders["arena_hard"], python, tmp_path, policy=policy(lambda n: 1))
    assert equal.column("score") == [0.5] * QUESTIONS and equal.published == {"published_win_rate": 0.5}
    worse = Run("arena_hard", folders["arena_hard"], python, tmp_path, policy=policy(lambda n: 0))
    assert worse.column("score") == [0.25] * QUESTIONS and worse.published == {"published_win_rate": 0.0}


def test_mt_bench_rates_both_turns(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    run = Run("mt_bench", folders["mt_bench"], python, tmp_path, subsets=["writing", "math"])
    assert len(run.asked) == len(run.judged) == 2 * 4
    assert run.column("category") == ["writing", "writing", "math", "math"]
    assert run.column("score") == [2.0, 2.0, 3.0, 3.0]
    assert run.column("verdicts") == [[2.0, 2.0], [2.0, 2.0], [3.0, 3.0], [3.0, 3.0]]
    assert run.rows[2]["question"] == ["Question 1: say something.", "Question 1: say it again."]
    assert run.rows[2]["answer"] == ["An answer, good good."] * 2 and run.rows[2]["tokens"] == 8
    assert {body["temperature"] for body in run.asked} == {0.7, 0.0}
    second = [body for body in run.asked if len(body["messages"]) == 3]
    assert len(second) == 4 and second[0]["messages"][1]["role"] == "assistant"


def test_what_is_refused_and_what_is_no_verdict_has_no_score(
    folders: dict[str, Path], python: str, tmp_path: Path
) -> None:
    """Question 0 is refused in its second turn, 1 by the judge; 2 never gets a verdict, and 3 one at the second try."""

    def refuses(body: Body) -> Reply:
        return 413 if number(last_text(body)) == 0 and len(body["messages"]) == 3 else BETTER(body)

    def stumbles(body: Body) -> Reply:
        n = number(last_text(body))
        if n == 1:
            return 400
        return "I cannot say." if n == 2 or (n == 3 and body["temperature"] == 0) else judge(body)

    run = Run("mt_bench", folders["mt_bench"], python, tmp_path, policy=refuses, judge=stumbles)
    found = {number(row["question"][0]): row for row in run.rows}
    assert len(found) == QUESTIONS
    unknown = {n: row["unknown"] for n, row in found.items()}
    assert unknown == {0: "refused", 1: "no_verdict", 2: "no_verdict", 3: None, 4: None, 5: None}
    assert [found[n]["score"] for n in range(QUESTIONS)] == [None, None, None, 2.0, 3.0, 4.0]
    assert found[0]["answer"] == ["", ""] and found[0]["verdicts"] == found[2]["verdicts"] == [None, None]
    assert not any(number(last_text(body)) == 0 for body in run.judged)
    of_two = [body["temperature"] for body in run.judged if number(last_text(body)) == 2]
    assert of_two == [0.0, 1.0]


def test_tasks_are_right_or_wrong(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    for name, subsets, order in (
        ("mmlu", None, [0, 2, 4, 1, 3, 5]),
        ("gsm8k", None, range(QUESTIONS)),
        ("arc", ["ARC-Easy"], range(QUESTIONS)),
    ):
        run = Run(name, folders[name], python, tmp_path, subsets=subsets)
        assert [number(row["question"][0]) for row in run.rows] == list(order), name
        assert run.column("score") == [float(n % 2 == 0) for n in order], name
        assert run.column("verdicts") == run.column("reference_length") == [None] * QUESTIONS
        assert not run.judged and run.published == {}


def test_a_task_leaves_out_what_is_refused(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    def refuses(body: Body) -> Reply:
        return 400 if number(last_text(body)) == 1 else BETTER(body)

    run = Run("mmlu", folders["mmlu"], python, tmp_path, policy=refuses, subsets=["astronomy"], limit=2)
    assert run.column("score") == [None, 0.0] and run.column("unknown") == ["refused", None]


def test_ifeval_needs_its_rules_for_sentences(
    folders: dict[str, Path], python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HOME": str(tmp_path), "HTTPS_PROXY": CLOSED, "https_proxy": CLOSED}.items():
        monkeypatch.setenv(name, value)  # neither rules of this machine nor of the network
    folder = folders["ifeval"]
    with pytest.raises(UserError, match=r"could not score 1 of 6 answers.*punkt_tab"):
        (folder / "nltk_data").mkdir()
        Run("ifeval", folder, python, tmp_path)
    save_sentence_rules(folder / "nltk_data")
    run = Run("ifeval", folder, python, tmp_path)
    assert run.column("score") == [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]


def test_requests_depend_on_the_spec_alone_and_answers_can_come_first(
    folders: dict[str, Path], python: str, tmp_path: Path
) -> None:
    def requests(bodies: list[Body]) -> list[str]:
        return sorted(json.dumps(body, sort_keys=True) for body in bodies)

    told: list[int] = []
    answers = Run("arena_hard", folders["arena_hard"], python, tmp_path, answers_only=True, expect=told.append)
    assert told == [QUESTIONS] and not answers.rows and not answers.judged
    whole = Run("arena_hard", folders["arena_hard"], python, tmp_path, in_flight=2, temperature=0.0, max_tokens=2048)
    assert requests(whole.asked) == requests(answers.asked)
    assert set(whole.asked[0]) == {"model", "messages", "max_tokens", "temperature", "seed"}
    assert set(whole.judged[0]) == {"model", "messages", "max_tokens", "temperature"}
    (tmp_path / "moved").mkdir()
    again = Run("arena_hard", folders["arena_hard"].rename(tmp_path / "elsewhere"), python, tmp_path / "moved")
    assert requests(again.asked) == requests(whole.asked) and requests(again.judged) == requests(whole.judged)
    assert again.rows == whole.rows


@pytest.mark.parametrize(
    "reply", [lambda body: 500, lambda body: 404], ids=["the server fails", "the server knows no such model"]
)
def test_a_failure_shows_no_texts(
    reply: Callable[[Body], Reply],
    folders: dict[str, Path],
    python: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match=r"evalscope_task: openai\.\w+, raised in") as caught:
        Run("gsm8k", folders["gsm8k"], python, tmp_path, policy=reply)
    shown = str(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert "how much" not in shown and "Question" not in shown
    assert "how much" in (tmp_path / "work-gsm8k/log").read_text()


def test_a_judge_that_fails_ends_the_run(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the judge's server did not answer: openai\.InternalServerError"):
        Run("arena_hard", folders["arena_hard"], python, tmp_path, judge=lambda body: 500)


def test_it_stops_at_once_and_leaves_no_process(folders: dict[str, Path], python: str, tmp_path: Path) -> None:
    seen: list[float] = []

    def slow(body: Body) -> Reply:
        seen.append(time.monotonic())
        time.sleep(3)
        return BETTER(body)

    with pytest.raises(StoppedError):
        Run("gsm8k", folders["gsm8k"], python, tmp_path, policy=slow, stop=lambda: bool(seen))
    assert time.monotonic() - seen[0] < 2.5 + 3  # the server waits for its own threads
    assert [
        child for child in psutil.Process().children(recursive=True) if "evalscope" in " ".join(child.cmdline())
    ] == []


@pytest.mark.parametrize(
    ("name", "with_data", "message"),
    [
        ("no_such", True, "EvalScope has no benchmark 'no_such'"),
        ("humaneval", True, "runs the policy's answers as programs"),
        ("simple_qa", True, "needs a judge"),
        ("arena_hard", False, "AI-ModelScope/arena-hard-auto-v0.1"),
        ("mmlu", True, "EvalScope found no questions"),
    ],
)
def test_what_cannot_be_run_is_refused(
    name: str, with_data: bool, message: str, folders: dict[str, Path], python: str, tmp_path: Path
) -> None:
    subsets = ["virology"] if name == "mmlu" else None
    with pytest.raises(UserError, match=message):
        Run(name, folders["mmlu"] if with_data else None, python, tmp_path, subsets=subsets)
