"""The summary of benchmarks: means, paired differences, win rates at equal length, by planted answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf.base.artifacts import ArtifactError
from rlhf.benchmarks.schema import BENCHMARK
from rlhf.benchmarks.settings import SummarySpec
from rlhf.benchmarks.summary import read_result, summary_rows

SPEC = SummarySpec(seed=1, bootstrap_samples=500, confidence=0.95)


def write(folder: Path, policy: str, benchmark: str, scores: list[float | None], **changes: Any) -> Path:
    """A result with a score per question; lengths by `lengths`, two verdicts where `judged`."""
    lengths, judged = changes.pop("lengths", [10] * len(scores)), changes.pop("judged", False)
    rows = [
        {
            "question_id": f"{number:04}",
            "category": "any",
            "question": ["q"],
            "answer": ["a"],
            "score": score,
            "verdicts": [score, None] if judged else None,
            "unknown": None if score is not None else "no_verdict",
            "length": length,
            "reference_length": 10 if judged else None,
            "tokens": 3,
        }
        for number, (score, length) in enumerate(zip(scores, lengths, strict=True))
    ]
    path = folder / policy / "benchmarks" / f"{benchmark}.parquet"
    BENCHMARK.write(path, rows[::-1], {"spec": {"benchmark": benchmark, "policy": policy}, "versions": {}, **changes})
    return path


def summarized(*paths: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["policy"], row["metric"]): row for row in summary_rows(map(read_result, paths), SPEC)}


def test_a_task_has_its_mean_and_a_paired_difference(tmp_path: Path) -> None:
    """Half of the questions are easy for both: paired, that does not widen the interval of the difference."""
    chance = np.random.default_rng(0)
    base = [float(value) for value in chance.random(400) < 0.5]
    better = [1.0 if index % 10 == 0 else value for index, value in enumerate(base)]
    rows = summarized(write(tmp_path, "base", "gsm8k", base), write(tmp_path, "rebel-1", "gsm8k", better))
    assert set(rows) == {("base", "score"), ("rebel-1", "score")}
    assert rows["base", "score"]["score"] == pytest.approx(np.mean(base))
    assert rows["base", "score"]["difference"] is None
    row, gain = rows["rebel-1", "score"], np.mean(better) - np.mean(base)
    assert row["difference"] == pytest.approx(gain)
    assert row["difference_low"] < gain < row["difference_high"]
    assert row["difference_high"] - row["difference_low"] < 0.6 * (row["score_high"] - row["score_low"])
    assert row["questions"] == 400
    assert (row["length"], row["tokens"]) == (10, 3)


def test_an_equal_policy_has_no_difference(tmp_path: Path) -> None:
    scores: list[float | None] = [1.0, 0.0, 1.0, None]
    rows = summarized(write(tmp_path, "base", "gsm8k", scores), write(tmp_path, "dpo-1", "gsm8k", scores))
    row = rows["dpo-1", "score"]
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0, 0, 0)
    assert row["score"] == pytest.approx(2 / 3)
    assert (row["questions"], row["without_score"]) == (4, 1)


def test_a_question_without_a_score_is_in_no_difference(tmp_path: Path) -> None:
    """It would count as wrong for one and right for the other."""
    base, other = [1.0, None, 0.0, 1.0], [1.0, 0.0, 1.0, None]
    rows = summarized(write(tmp_path, "base", "mmlu", base), write(tmp_path, "dpo-1", "mmlu", other))
    assert rows["dpo-1", "score"]["difference"] == pytest.approx(1 / 2)  # of 1 -> 1 and 0 -> 1


def test_a_longer_but_worse_policy_falls_at_equal_length(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    lengths = np.round(chance.normal(110, 100, 600)).clip(0).astype(int)
    wins = 1 / (1 + np.exp(0.4 - 1.5 * np.tanh((lengths - 10) / 100)))
    longer = [float(value) for value in chance.random(600) < wins]
    even = [float(value) for value in chance.random(600) < 0.5]
    rows = summarized(
        write(tmp_path, "base", "alpaca_eval", even, judged=True, lengths=list(map(int, chance.permutation(lengths)))),
        write(tmp_path, "simpo-1", "alpaca_eval", longer, judged=True, lengths=list(map(int, lengths))),
    )
    assert rows["simpo-1", "score"]["score"] > 0.55
    row = rows["simpo-1", "length_controlled"]
    assert row["score_high"] < 0.5
    assert row["score_low"] < row["score"] < row["score_high"]
    base = rows["base", "length_controlled"]
    assert base["score_low"] < 0.5 < base["score_high"]


def test_a_rate_at_equal_length_that_nobody_knows_has_a_reason(tmp_path: Path) -> None:
    rows = summarized(write(tmp_path, "base", "arena_hard", [1.0, 0.0, 1.0], judged=True))
    assert rows["base", "length_controlled"]["score"] is None
    assert rows["base", "length_controlled"]["unknown"] == "few_prompts"
    assert rows["base", "score"]["score"] == pytest.approx(2 / 3)


def test_a_published_rate_is_a_metric_of_its_own(tmp_path: Path) -> None:
    rows = summarized(write(tmp_path, "base", "alpaca_eval", [1.0, 0.0], judged=True, published_length_controlled=0.25))
    assert rows["base", "published_length_controlled"]["score"] == 0.25


def test_a_published_win_rate_is_shown_where_it_is_no_mean(tmp_path: Path) -> None:
    mean = summarized(write(tmp_path, "base", "alpaca_eval", [1.0, 0.0], judged=True, published_win_rate=0.5))
    assert ("base", "published_win_rate") not in mean
    strong = summarized(write(tmp_path, "base", "arena_hard", [1.0, 0.25], judged=True, published_win_rate=0.75))
    assert strong["base", "published_win_rate"]["score"] == 0.75
    assert strong["base", "score"]["score"] == 0.625


def test_no_scores_at_all_are_said(tmp_path: Path) -> None:
    rows = summarized(write(tmp_path, "base", "mt_bench", [None, None]))
    assert rows["base", "score"]["score"] is None
    assert rows["base", "score"]["unknown"] == "no_scores"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    BENCHMARK.write(path, [], {"spec": {}, "versions": {}})
    with pytest.raises(ArtifactError, match="names no benchmark and policy"):
        read_result(path)
