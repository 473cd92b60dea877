"""One reward from several scorers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.artifacts import ArtifactError
from rlhf.base.errors import UserError
from rlhf.rewards.combination import Scale, combine
from rlhf.rewards.schema import REWARDS

NAMES = ("first", "second", "third")
PATHS = {name: Path(f"{name}.parquet") for name in NAMES}
FINITE = st.floats(-100, 100, width=32)
Scores = dict[str, list[float | None]]


def rows(scores: list[float | None], reason: str = "too_long") -> list[dict[str, Any]]:
    """Two draws of each prompt."""
    return [
        {
            "prompt_id": f"p{index // 2}",
            "draw": index % 2,
            "reward": score,
            "invalid": reason if score is None else None,
            "objectives": None,
        }
        for index, score in enumerate(scores)
    ]


def combined(scores: Scores, weights: dict[str, float], reference: Scores | None = None) -> list[dict[str, Any]]:
    scales = {name: Scale.of((reference or scores)[name], PATHS[name]) for name in weights}
    return combine({name: rows(scores[name]) for name in weights}, scales, weights, PATHS)


@st.composite
def parts(draw: st.DrawFn) -> tuple[Scores, Scores, dict[str, float]]:
    """Scores, reference scores that differ from each other, and weights."""
    names = NAMES[: draw(st.integers(2, 3))]
    size = draw(st.integers(1, 6))
    scores: Scores = {name: draw(st.lists(st.none() | FINITE, min_size=size, max_size=size)) for name in names}
    reference: Scores = {name: [*draw(st.lists(st.none() | FINITE, max_size=5)), 0.0, 8.0] for name in names}
    return scores, reference, {name: draw(st.floats(0.1, 10)) for name in names}


def test_mean_and_deviation_ignore_nulls() -> None:
    scale = Scale.of([3.0, None, 5.0, 10.0], Path("x"))
    assert (scale.mean, scale.deviation) == (6.0, pytest.approx(np.std([3.0, 5.0, 10.0]), rel=1e-15))


@pytest.mark.parametrize("scores", [[], [None, None], [2.0], [0.1] * 7, [0.1, None, 0.1], [0.0, -0.0]])
def test_constant_scores_are_an_error(scores: list[float | None]) -> None:
    count = sum(score is not None for score in scores)
    with pytest.raises(UserError, match=rf"^second\.parquet: its {count} scores are all equal.*`rewards\.scorers`"):
        Scale.of(scores, PATHS["second"])


@given(part=parts())
@settings(deadline=None)
def test_weighted_mean_of_standardized_scores(part: tuple[Scores, Scores, dict[str, float]]) -> None:
    scores, reference, weights = part
    found = combined(scores, weights, reference)
    REWARDS.check(pa.Table.from_pylist(found, schema=REWARDS.schema), Path("rewards.parquet"))
    matrix = np.array([[math.nan if score is None else score for score in scores[name]] for name in weights]).T
    known = [np.array([score for score in reference[name] if score is not None]) for name in weights]
    standardized = (matrix - [values.mean() for values in known]) / [values.std() for values in known]
    expected = np.average(standardized, axis=1, weights=list(weights.values()))
    for index, row in enumerate(found):
        assert (row["prompt_id"], row["draw"]) == (f"p{index // 2}", index % 2)
        if math.isnan(expected[index]):
            first_without = next(name for name in weights if scores[name][index] is None)
            assert (row["reward"], row["objectives"]) == (None, None)
            assert row["invalid"] == f"{first_without}:too_long"
        else:
            assert row["reward"] == pytest.approx(expected[index], rel=1e-9, abs=1e-9)
            assert row["objectives"] == pytest.approx(standardized[index].tolist(), rel=1e-9, abs=1e-9)
            assert row["invalid"] is None


@given(part=parts(), factor=st.floats(0.01, 100), shift=st.floats(-50, 50), data=st.data())
@settings(deadline=None)
def test_rewards_are_invariant_to_affine_changes_of_scores(
    part: tuple[Scores, Scores, dict[str, float]], factor: float, shift: float, data: st.DataObject
) -> None:
    scores, reference, weights = part
    name = data.draw(st.sampled_from(sorted(weights)))

    def changed(by_scorer: Scores) -> Scores:
        return {
            **by_scorer,
            name: [None if score is None else factor * score + shift for score in by_scorer[name]],
        }

    before, after = combined(scores, weights, reference), combined(changed(scores), weights, changed(reference))
    for row, other in zip(before, after, strict=True):
        assert row["invalid"] == other["invalid"]
        if row["reward"] is not None:
            assert other["reward"] == pytest.approx(row["reward"], rel=1e-6, abs=1e-6)


@given(part=parts(), factor=st.floats(0.01, 100))
@settings(deadline=None)
def test_only_relative_weights_matter(part: tuple[Scores, Scores, dict[str, float]], factor: float) -> None:
    scores, reference, weights = part
    before = combined(scores, weights, reference)
    after = combined(scores, {name: factor * weight for name, weight in weights.items()}, reference)
    for row, other in zip(before, after, strict=True):
        assert other["objectives"] == row["objectives"]
        if row["reward"] is not None:
            assert other["reward"] == pytest.approx(row["reward"], rel=1e-9, abs=1e-12)


@given(part=parts(), data=st.data())
@settings(deadline=None)
def test_order_of_the_rows_does_not_matter(part: tuple[Scores, Scores, dict[str, float]], data: st.DataObject) -> None:
    scores, reference, weights = part
    scales = {name: Scale.of(reference[name], PATHS[name]) for name in weights}
    tables = {name: rows(scores[name]) for name in weights}
    shuffled = {name: data.draw(st.permutations(table)) for name, table in tables.items()}
    found = combine(shuffled, scales, weights, PATHS)
    first = next(iter(weights))
    assert [(row["prompt_id"], row["draw"]) for row in found] == [
        (row["prompt_id"], row["draw"]) for row in shuffled[first]
    ]
    by_key = {(row["prompt_id"], row["draw"]): row for row in found}
    assert list(combine(tables, scales, weights, PATHS)) == [
        by_key[row["prompt_id"], row["draw"]] for row in tables[first]
    ]


@pytest.mark.parametrize("longer", ["first", "second"])
def test_files_of_different_responses(longer: str) -> None:
    shorter = {"first": "second", "second": "first"}[longer]
    scales = dict.fromkeys(("first", "second"), Scale(0.0, 1.0))
    scores = {longer: rows([1.0, 2.0, 3.0, 4.0]), shorter: rows([1.0, 2.0])}
    with pytest.raises(
        ArtifactError, match=r"second\.parquet and first\.parquet: only one of them has prompt_id='p1', draw=0"
    ):
        combine(scores, scales, {"first": 1.0, "second": 1.0}, PATHS)
