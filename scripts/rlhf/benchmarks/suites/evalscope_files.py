"""The files that EvalScope leaves, as rows: whole, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError
from rlhf.benchmarks.suites.child import NO_VERDICT, REFUSED, Measured, question_id
from rlhf.benchmarks.suites.evalscope_task import POLICY, QUESTIONS, RESULTS

ARENA_HARD, MT_BENCH = "arena_hard", "mt_bench"
PREFERENCE = {"A>>B": 1.0, "A>B": 0.75, "A=B": 0.5, "B>A": 0.25, "B>>A": 0.0}
"""Arena-Hard's verdicts as preference for A."""
STRONG = 3
"""A verdict `>>` counts as so many games, as Arena-Hard defines it."""
ROUNDING = 1e-6
FOUR_DIGITS = 1e-3
"""EvalScope rounds Arena-Hard's rate, and fits it to a tolerance."""
IDENTITY = {"name": "metric_name", "aggregation": "aggregation", "dimensions": "dimensions"}
"""What a report calls a result by, and where that is in a result."""
Found = dict[str, Any]


def read_evalscope(work: Path, benchmark: str) -> Measured:
    """The rows of a finished run in `work`, in the benchmark's order.

    Arena-Hard's verdicts are the preference for the policy with the reference shown first, then second: 1, 0.75, 0.5,
    0.25 or 0; its score is their mean. `published` then has `published_win_rate`: strong verdicts count three times.
    MT-Bench's verdicts are the ratings of both turns. A question that the policy's server refused has no score, also in
    tasks: there is no answer that it could be of. One without a verdict has none either, all others have one.

    Raises:
        UserError: a question was not answered or scored, or our mean is not EvalScope's.
    """
    questions = list(_lines(work / QUESTIONS))
    predictions = _by_question(work / "predictions" / POLICY, benchmark, questions)
    reviews = _by_question(work / "reviews" / POLICY, benchmark, questions)
    _check_counts(benchmark, questions, predictions, reviews)
    report = json.loads((work / "reports" / POLICY / f"{benchmark}.json").read_text())
    metric = report["primary_metric_identity"] or {"name": ""}
    rows = [_row(benchmark, metric["name"], q, predictions[_place(q)], reviews[_place(q)]) for q in questions]
    _check_scores(benchmark, rows)
    results = {
        subset: result["score"]
        for subset, result in json.loads((work / RESULTS).read_text())
        if {name: result.get(key) for name, key in IDENTITY.items()} == metric
    }
    if benchmark == ARENA_HARD:
        return Measured(rows, _check_arena(rows, results))
    _check_means(benchmark, questions, rows, results)
    return Measured(rows, {})


def number_of_questions(work: Path) -> int | None:
    """How many questions are asked by a run in `work`; None until it is known."""
    path = work / QUESTIONS
    return sum(1 for _ in _lines(path)) if path.exists() else None


def _lines(path: Path) -> Iterator[Found]:
    if path.exists():
        with path.open() as lines:
            yield from map(json.loads, lines)


def _place(question: Found) -> tuple[str, int]:
    return question["subset"], question["index"]


def _by_question(folder: Path, benchmark: str, questions: list[Found]) -> dict[tuple[str, int], Found]:
    subsets = dict.fromkeys(question["subset"] for question in questions)
    return {
        (subset, line["index"]): line for subset in subsets for line in _lines(folder / f"{benchmark}_{subset}.jsonl")
    }


def _check_counts(benchmark: str, questions: list[Found], *answers: dict[tuple[str, int], Found]) -> None:
    """Every question has to come back once.

    Raises:
        UserError: some did not, or there are no questions at all.
    """
    asked = {_place(question) for question in questions}
    if not questions:
        raise UserError(f"{benchmark}: EvalScope found no questions: check `data`, `subsets` and `limit`")
    if len(asked) != len(questions) or any(asked != found.keys() for found in answers):
        counts = " and ".join(str(len(asked & found.keys())) for found in answers)
        raise UserError(f"{benchmark}: of {len(questions)} questions, EvalScope answered and scored {counts}")


def _row(benchmark: str, metric: str, question: Found, prediction: Found, review: Found) -> Found:
    score, unknown = _score(question, review["sample_score"]["score"], metric)
    verdicts = _verdicts(benchmark, review["sample_score"]["score"])
    if benchmark == ARENA_HARD and score is not None and verdicts is not None:
        score = sum(verdicts) / len(verdicts)
    said = [message for message in prediction["messages"] if message["role"] == "assistant"]
    answers = [_text(message["content"]) for message in said] or [""] * len(question["texts"])
    return {
        "question_id": question_id(question["subset"], question["index"], question["texts"]),
        "category": question["capability"] or question["subset"],
        "question": question["texts"],
        "answer": answers,
        "score": score,
        "verdicts": verdicts,
        "unknown": unknown,
        "length": sum(map(len, answers)),
        "reference_length": len(question["target"]) if benchmark == ARENA_HARD else None,
        "tokens": _tokens(said),
    }


def _text(content: str | list[Found]) -> str:
    """What a message says, without its reasoning."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _tokens(said: list[Found]) -> int | None:
    """Tokens of the answers; None where the server did not count them."""
    counts: list[int] = [(message.get("perf_metrics") or {}).get("output_tokens") or 0 for message in said]
    return sum(counts) if counts and all(counts) else None


def _score(question: Found, score: Found, metric: str) -> tuple[float | None, str | None]:
    """(score, None), or (None, why); why is empty where EvalScope failed."""
    values = score["value"]
    value = values.get(metric, values.get(score["main_score_name"]))
    if question["refused"]:
        return None, REFUSED
    if value is None or score["status"] == "excluded":
        return None, NO_VERDICT if score["judge_summary"] else ""
    return float(value), None


def _verdicts(benchmark: str, score: Found) -> Any:
    """The last answer of the judge to each order or turn (numbers, or None); None for benchmarks without verdicts."""
    attempts = (score["metadata"] or {}).get("judge_attempts", [])
    if benchmark == ARENA_HARD:
        parsed = {attempt["placement"]: attempt.get("parsed_value") for attempt in attempts}
        policy_is_a = {"original": False, "swapped": True}
        return [_preference(parsed.get(placement), is_a) for placement, is_a in policy_is_a.items()]
    if benchmark == MT_BENCH:
        parsed = {attempt["case_id"]: attempt.get("parsed_value") for attempt in attempts}
        return [
            float(found["score"]) if (found := parsed.get(turn)) else None for turn in ("first_turn", "second_turn")
        ]
    return None


def _preference(parsed: Found | None, policy_is_a: bool) -> float | None:
    if parsed is None:
        return None
    value = PREFERENCE[parsed["verdict"]]
    return value if policy_is_a else 1 - value


def _check_scores(benchmark: str, rows: list[Found]) -> None:
    failed = sum(row["unknown"] == "" for row in rows)
    if failed:
        hint = " It needs nltk's punkt_tab: put it in NLTK_DATA, or in the folder `nltk_data` of `data`."
        raise UserError(
            f"{benchmark}: EvalScope could not score {failed} of {len(rows)} answers, and would leave them out."
            + (hint if benchmark == "ifeval" else "")
        )


def _check_means(benchmark: str, questions: list[Found], rows: list[Found], results: dict[str, float]) -> None:
    """Raises:
    UserError: in a subset, the mean of our scores is not EvalScope's result.
    """
    scores: dict[str, list[float]] = {}
    for question, row in zip(questions, rows, strict=True):
        if row["score"] is not None:
            scores.setdefault(question["subset"], []).append(row["score"])
    for subset, values in scores.items():
        _compare(benchmark, sum(values) / len(values), results.get(subset), ROUNDING)


def _check_arena(rows: list[Found], results: dict[str, float]) -> dict[str, float]:
    """The win rate of all games, if it is EvalScope's; nothing without games.

    Raises:
        UserError: it is not.
    """
    games = [verdict for row in rows if row["score"] is not None for verdict in row["verdicts"]]
    if not games:
        return {}
    rate = _win_rate(games)
    if 0 < rate < 1:  # else EvalScope's fit has no solution, and it reports 10/11 or 1/11
        (result,) = results.values()
        _compare(ARENA_HARD, rate, result, FOUR_DIGITS)
    return {"published_win_rate": rate}


def _win_rate(games: list[float]) -> float:
    """Share of the games that the policy wins; strong verdicts count three times, ties half."""
    weights = [STRONG if game in (0.0, 1.0) else 1 for game in games]
    won = [1.0 if game > 0.5 else 0.5 if game == 0.5 else 0.0 for game in games]
    return sum(weight * share for weight, share in zip(weights, won, strict=True)) / sum(weights)


def _compare(benchmark: str, ours: float, theirs: float | None, tolerance: float) -> None:
    if theirs is None or abs(ours - theirs) > tolerance * max(1.0, abs(ours)):
        raise UserError(
            f"{benchmark}: the mean of the questions' scores is {ours:.6f}, and EvalScope's result {theirs}. "
            "A benchmark whose result is no mean over questions cannot be run here."
        )
