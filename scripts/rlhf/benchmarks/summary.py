"""What the benchmarks say of each policy: mean scores, win rates at equal length, and paired differences to `base`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.benchmarks.schema import (
    BENCHMARK,
    LENGTH_CONTROLLED,
    PUBLISHED_LENGTH_CONTROLLED,
    PUBLISHED_WIN_RATE,
    SCORE,
)
from rlhf.benchmarks.settings import SummarySpec
from rlhf.evaluation.bootstrap import bootstrap_interval
from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.difficulty import prompt_difficulty
from rlhf.evaluation.length_control import length_controlled

Values = NDArray[np.float64]
NOTHING = dict.fromkeys(
    ("score", "score_low", "score_high", "difference", "difference_low", "difference_high", "unknown")
)
ROUNDING = 1e-6
"""Two rates that differ by less are the same."""
NO_SCORES = "no_scores"
"""Why there is no mean score: no question has one."""


@dataclass(frozen=True)
class Result:
    """The questions of one benchmark that a policy has answered, ordered by `ids`."""

    benchmark: str
    policy: str
    ids: NDArray[np.str_]
    """(questions,), ascending."""
    scores: Values
    """(questions,), NaN where there is none."""
    preferences: Values | None
    """Mean verdict for the policy over both orders, 0 to 1, (questions,), NaN where there is none; None for benchmarks
    that compare with no reference."""
    lengths: Values
    """Characters of the answers, (questions,)."""
    reference_lengths: Values
    """Characters of the reference's answers, (questions,); NaN where there is none."""
    tokens: Values
    """Tokens of the answers, (questions,), NaN where they are unknown."""
    published: dict[str, float]
    """Results by the library's own aggregation, 0 to 1: `published_win_rate`, `published_length_controlled`."""


def read_result(path: Path) -> Result:
    """Read the file of one policy and benchmark; what they are is in its provenance.

    Raises:
        ArtifactError: the file is no benchmark's, or damaged.
    """
    spec = read_provenance(path)
    if not {"benchmark", "policy"} <= spec.get("spec", {}).keys():
        raise ArtifactError(f"{path}: its provenance names no benchmark and policy: run_benchmark did not write it")
    table = BENCHMARK.read(path).sort_by("question_id")
    references = _floats(table["reference_length"].to_pylist())
    preferences = None
    if not np.isnan(references).all():
        preferences = np.array([_mean(verdicts) for verdicts in table["verdicts"].to_pylist()], np.float64)
    return Result(
        spec["spec"]["benchmark"],
        spec["spec"]["policy"],
        np.array(table["question_id"].to_pylist(), np.str_),
        _floats(table["score"].to_pylist()),
        preferences,
        _floats(table["length"].to_pylist()),
        references,
        _floats(table["tokens"].to_pylist()),
        {name: spec[name] for name in (PUBLISHED_WIN_RATE, PUBLISHED_LENGTH_CONTROLLED) if name in spec},
    )


def summary_rows(results: Iterable[Result], spec: SummarySpec) -> Iterator[dict[str, Any]]:
    """The rows of `SUMMARY`, by benchmark, in the order of the results."""
    by_benchmark: dict[str, list[Result]] = {}
    for result in results:
        by_benchmark.setdefault(result.benchmark, []).append(result)
    for group in by_benchmark.values():
        base = next((result for result in group if result.policy == "base"), None)
        for result in group:
            yield {**_shared(result, SCORE), **_score(result, base, spec)}
            if result.preferences is not None:
                others = [other for other in group if other is not result]
                yield {**_shared(result, LENGTH_CONTROLLED), **_at_equal_length(result, others, spec)}
            for metric, value in result.published.items():
                if metric != PUBLISHED_WIN_RATE or abs(value - np.nanmean(result.scores)) > ROUNDING:
                    yield {**_shared(result, metric), **NOTHING, "score": value}


def _shared(result: Result, metric: str) -> dict[str, Any]:
    return {
        "policy": result.policy,
        "benchmark": result.benchmark,
        "metric": metric,
        "questions": len(result.ids),
        "without_score": int(np.isnan(result.scores).sum()),
        "length": float(result.lengths.mean()),
        "tokens": None if np.isnan(result.tokens).all() else float(np.nanmean(result.tokens)),
    }


def _score(result: Result, base: Result | None, spec: SummarySpec) -> dict[str, Any]:
    """The mean score with its interval, and the difference to `base` on the same questions."""
    known = result.scores[~np.isnan(result.scores)]
    if not len(known):
        return {**NOTHING, "unknown": NO_SCORES}
    low, high = _interval(known, spec)
    found = {**NOTHING, "score": float(known.mean()), "score_low": low, "score_high": high}
    if base is None or base is result:
        return found
    _, ours, theirs = np.intersect1d(result.ids, base.ids, assume_unique=True, return_indices=True)
    differences = result.scores[ours] - base.scores[theirs]
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return found
    low, high = _interval(differences, spec)
    return {
        **found,
        "difference": float(differences.mean()),
        "difference_low": low,
        "difference_high": high,
    }


def _at_equal_length(result: Result, others: Sequence[Result], spec: SummarySpec) -> dict[str, Any]:
    """Our length-controlled win rate, with the difficulty of each question from the other policies."""
    ours = _comparisons(result)
    if not len(ours.prompt_ids):
        return {**NOTHING, "unknown": NO_SCORES}
    difficulty, _ = prompt_difficulty(ours.prompts[0], map(_comparisons, others))
    found = length_controlled(ours, difficulty, spec.confidence)
    return {
        **NOTHING,
        "score": found.rate,
        "score_low": found.low,
        "score_high": found.high,
        "unknown": found.unknown,
    }


def _comparisons(result: Result) -> Comparisons:
    assert result.preferences is not None
    known = ~np.isnan(result.preferences)
    lengths = (result.lengths - result.reference_lengths)[known]
    return Comparisons(result.ids[known], result.preferences[known], lengths)


def _interval(values: Values, spec: SummarySpec) -> tuple[float, float]:
    return bootstrap_interval(values, spec.bootstrap_samples, spec.confidence, spec.seed)


def _floats(values: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _mean(verdicts: Sequence[float | None] | None) -> float:
    """The mean of the verdicts that there are; NaN without any."""
    known = [value for value in verdicts or [] if value is not None]
    return sum(known) / len(known) if known else float("nan")
