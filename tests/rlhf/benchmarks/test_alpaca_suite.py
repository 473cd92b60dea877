"""alpaca_eval for real, against servers that play policy and judge, in an environment of its own."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from benchmark_questions import QUESTIONS, REFERENCE, save_questions
from benchmark_server import Body, ChatServer, Reply, judge, last_text, number, policy
from benchmark_suites import benchmark_spec, evaluation_python
from rlhf.base.errors import UserError
from rlhf.benchmarks.alpaca_suite import measure
from rlhf.benchmarks.schema import BENCHMARK
from rlhf.benchmarks.suites.child import Measured

BETTER = policy(lambda n: 2 + n % 2)
NOWHERE = ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")


@pytest.fixture(scope="module")
def python() -> str:
    return evaluation_python()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_questions(tmp_path / "questions")["alpaca_eval"]


def preferred(difference: int) -> float:
    return 1 / (1 + math.exp(-difference))


class Run:
    """A run against both servers; its rows are checked against the schema."""

    def __init__(self, folder: Path, python: str, tmp_path: Path, **changes: Any) -> None:
        reply, verdict = changes.pop("policy", BETTER), changes.pop("judge", judge)
        self.work = tmp_path / "work"
        with ChatServer(reply) as asked, ChatServer(verdict) as judging:
            self.asked, self.judged = asked.bodies, judging.bodies
            only = changes.pop("answers_only", False)
            spec = benchmark_spec("alpaca_eval", folder, **changes)
            found: Measured = measure(spec, asked.url, judging.url, self.work, answers_only=only, python=python)
        self.rows, self.published = found.rows, found.published
        if self.rows:
            BENCHMARK.write(tmp_path / "rows.parquet", self.rows, {})

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


@pytest.mark.slow
def test_a_score_is_the_probability_of_the_policys_answer(folder: Path, python: str, tmp_path: Path) -> None:
    run = Run(folder, python, tmp_path)
    expected = [preferred(1 + n % 2) for n in range(QUESTIONS)]
    assert run.column("score") == pytest.approx(expected)
    assert run.column("verdicts") == [[score] for score in run.column("score")]
    assert run.published == {"published_win_rate": pytest.approx(sum(expected) / QUESTIONS)}
    assert run.column("category") == ["koala", "vicuna"] * 3
    first = run.rows[0]
    assert first["question"] == ["Question 0: say something."] and first["answer"] == ["An answer, good good."]
    assert (first["length"], first["reference_length"], first["tokens"]) == (21, len(REFERENCE), 4)
    assert len(run.asked) == len(run.judged) == QUESTIONS
    assert set(run.asked[0]) == {"model", "messages", "max_tokens", "temperature", "seed"}
    assert {run.judged[0][name] for name in ("model", "max_tokens", "temperature")} == {"instructed-judge", 1}
    assert (run.judged[0]["logprobs"], run.judged[0]["top_logprobs"]) == (True, 5)


@pytest.mark.slow
def test_the_order_that_is_shown_changes_nothing(folder: Path, python: str, tmp_path: Path) -> None:
    """A fair judge sees some pairs in one order and some in the other, and a biased one is not made fair by it."""
    run = Run(folder, python, tmp_path, policy=policy(lambda n: 2))
    policy_first = {
        number(text): text.index("An answer, good") < text.index(REFERENCE) for text in map(last_text, run.judged)
    }
    assert len(policy_first) == QUESTIONS and set(policy_first.values()) == {True, False}
    assert run.column("score") == pytest.approx([preferred(1)] * QUESTIONS)
    biased = Run(folder, python, tmp_path, policy=policy(lambda n: 2), judge=lambda body: {"m": 0.9, "M": 0.1})
    assert biased.column("score") == pytest.approx([0.9 if policy_first[n] else 0.1 for n in range(QUESTIONS)])


@pytest.mark.slow
def test_equal_answers_are_a_tie_that_nobody_judges(folder: Path, python: str, tmp_path: Path) -> None:
    run = Run(folder, python, tmp_path, policy=lambda body: REFERENCE)
    assert run.column("score") == [0.5] * QUESTIONS and not run.judged
    assert run.published == {"published_win_rate": 0.5}
    answers = Run(folder, python, tmp_path, answers_only=True)
    assert len(answers.asked) == QUESTIONS and not answers.judged and not answers.rows


@pytest.mark.slow
def test_what_is_refused_and_what_is_no_verdict_has_no_score(folder: Path, python: str, tmp_path: Path) -> None:
    """The policy refuses question 0, and says nothing to 3; the judge refuses 1, and names none of the two on 2."""

    def refuses(body: Body) -> Reply:
        n = number(last_text(body))
        return 400 if n == 0 else "" if n == 3 else BETTER(body)

    def stumbles(body: Body) -> Reply:
        n = number(last_text(body))
        return 413 if n == 1 else {"I": 0.9, "The": 0.1} if n == 2 else judge(body)

    run = Run(folder, python, tmp_path, policy=refuses, judge=stumbles)
    assert run.column("unknown") == ["refused", "no_verdict", "no_verdict", None, None, None]
    assert run.column("score")[3:] == pytest.approx([preferred(-1), preferred(1), preferred(2)])
    assert run.column("score")[:3] == [None] * 3 and run.column("answer")[0] == [""]
    assert run.published["published_win_rate"] == pytest.approx(sum(run.column("score")[3:]) / 3)
    assert not any(number(last_text(body)) == 0 for body in run.judged)


@pytest.mark.slow
def test_a_judge_without_log_probabilities_is_refused(
    folder: Path, python: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="log-probabilities") as caught:
        Run(folder, python, tmp_path, judge=lambda body: "m")
    with pytest.raises(UserError, match=r"the judge's server did not answer: openai\.InternalServerError") as failed:
        Run(folder, python, tmp_path, judge=lambda body: 500)
    shown = str(caught.value) + str(failed.value) + caplog.text + "".join(capfd.readouterr())
    assert "Question" not in shown and "good" not in shown


def save_gamed(path: Path) -> None:
    """Made-up annotations of two gamed models: short and long answers, which lose and win."""
    columns = ["model", "index", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline"]
    with path.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(columns)
        for model, length in (("concise", 1.0), ("verbose", -1.0)):
            for n in range(QUESTIONS):
                table.writerow([model, n, 0.5 - 0.3 * length, length, (n - 2.5) / 2, False])


@pytest.mark.slow
def test_the_published_length_control_needs_the_gamed_models(folder: Path, python: str, tmp_path: Path) -> None:
    """Longer answers win, the longer the surer: at equal length less is left of it."""
    save_gamed(folder / "df_gamed.csv")

    def wordy(body: Body) -> Reply:
        n = number(last_text(body))
        return "An answer, good" + " word" * 10 * n + "."

    def by_length(body: Body) -> Reply:
        parts = last_text(body).split('"output": """')[1:]
        first, second = (len(part.split('"""')[0]) for part in parts)
        chance = 1 / (1 + math.exp((second - first) / 60))
        return {"m": chance, "M": 1 - chance}

    run = Run(folder, python, tmp_path, policy=wordy, judge=by_length)
    raw, controlled = run.published["published_win_rate"], run.published["published_length_controlled"]
    assert raw == pytest.approx(sum(run.column("score")) / QUESTIONS)
    assert 0.5 < raw < 1.0
    assert 0.0 < controlled < raw - 0.05
    assert "published_length_controlled" not in Run(folder, python, tmp_path, policy=wordy, limit=4).published


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{}", "at least one row is needed"),
        ('[{"instruction": "a"}]', "no list of `instruction` and `output`: KeyError"),
        ('[{"instruction": "a", "output": 3}]', "are texts"),
        ('[{"instruction": "a", "output": "b"}, {"instruction": "a", "output": "c"}]', "is there twice"),
        ('[{"instruction": "a", "output": "b", "dataset": "koala"}]', "is of the `dataset` vicuna"),
        ("[", "no JSON"),
        (None, "there is no such file"),
    ],
)
def test_references_that_cannot_be_used_are_refused(rows: str | None, message: str, tmp_path: Path) -> None:
    if rows is not None:
        (tmp_path / "alpaca_eval_gpt4_baseline.json").write_text(rows)
    spec = benchmark_spec("alpaca_eval", tmp_path, subsets=["vicuna"])
    with pytest.raises(UserError, match=message):
        measure(spec, *NOWHERE, tmp_path / "work")


def test_it_needs_a_judge_and_takes_no_worked_examples(folder: Path, tmp_path: Path) -> None:
    spec = benchmark_spec("alpaca_eval", folder)
    with pytest.raises(UserError, match="needs a judge"):
        measure(spec.model_copy(update={"judge": None}), *NOWHERE, tmp_path / "work")
    shown = spec.task.model_copy(update={"few_shot": 2})
    with pytest.raises(UserError, match="worked examples"):
        measure(spec.model_copy(update={"task": shown}), *NOWHERE, tmp_path / "work")


def test_the_hub_is_asked_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be had from the hub.*`data`"):
        measure(benchmark_spec("alpaca_eval", None), *NOWHERE, tmp_path / "work")
