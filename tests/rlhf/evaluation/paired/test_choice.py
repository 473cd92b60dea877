"""What a sweep promotes: simulated sweeps whose best point is known, or that have none."""

import json

import numpy as np
import pytest

from rlhf.base.errors import UserError
from rlhf.evaluation.comparisons import Comparisons
from rlhf.evaluation.paired.choice import choose
from rlhf.evaluation.paired.settings import ChooseSpec, PointSpec

PROMPTS, DRAWS = 100, 4


def spec(points: int = 9, seeds: int = 2, promote: int = 1, default: int = 4) -> ChooseSpec:
    return ChooseSpec(
        sweep="rates",
        judge="judge",
        points=[
            PointSpec(
                name=f"rebel_lr{point}",
                changes={"learning_rate": float(point)},
                policies=[f"rebel_lr{point}_s{seed}-1" for seed in range(1, seeds + 1)],
            )
            for point in range(points)
        ],
        default=default,
        promote=promote,
    )


def simulated(
    sweep: ChooseSpec,
    random: np.random.Generator,
    effects: dict[int, float] | None = None,
    longer: dict[int, float] | None = None,
    length_effect: float = 0.0,
) -> dict[str, Comparisons]:
    """Comparisons of every policy: prompts of different difficulty, noise between runs and between draws.

    Args:
        effects: by how much a point wins more often.
        longer: by how many characters its responses are longer.
        length_effect: preference per 100 characters.
    """
    difficulty = random.normal(0, 0.2, PROMPTS)
    names = np.repeat([f"p{prompt:03d}" for prompt in range(PROMPTS)], DRAWS)
    found = {}
    for place, point in enumerate(sweep.points):
        for policy in point.policies:
            lengths = random.normal((longer or {}).get(place, 0), 100, PROMPTS * DRAWS)
            mean = 0.4 + (effects or {}).get(place, 0) + random.normal(0, 0.02)
            mean = mean + np.repeat(difficulty, DRAWS) + length_effect * lengths / 100
            wins = (random.uniform(size=PROMPTS * DRAWS) < mean).astype(float)
            found[policy] = Comparisons(names, wins, lengths)
    return found


def test_of_nine_identical_points_the_default_is_promoted() -> None:
    """200 simulated sweeps: at most 1 in 20 may find a difference that is not there."""
    random, sweep, wrong = np.random.default_rng(2026), spec(), 0
    for _ in range(200):
        rows, facts = choose(sweep, simulated(sweep, random))
        (promoted,) = [row for row in rows if row["promoted"]]
        assert promoted["default"] == (facts["significant"] == 0)
        wrong += facts["significant"] > 0
    assert wrong <= 10


def test_the_point_that_is_better_is_found() -> None:
    random, sweep, found, covered = np.random.default_rng(1), spec(), 0, 0
    for _ in range(20):
        rows, _ = choose(sweep, simulated(sweep, random, effects={7: 0.2}))
        (promoted,) = [row for row in rows if row["promoted"]]
        assert promoted["point"] in (7, sweep.default)
        found += promoted["point"] == 7
        covered += rows[7]["difference_low"] < 0.2 < rows[7]["difference_high"]
        assert rows[7]["corrected_p_value"] == pytest.approx(min(1, 8 * rows[7]["p_value"]))
    assert found >= 18
    assert covered >= 17  # of 20, by intervals of 95 %


def test_a_point_that_is_only_longer_is_not_better() -> None:
    """The judge likes length: 300 characters more win 70 % of the comparisons, and at equal length 40 %."""
    random, sweep = np.random.default_rng(4), spec()
    rows, facts = choose(sweep, simulated(sweep, random, longer={2: 300}, length_effect=0.1))
    assert rows[2]["win_rate"] > 0.6
    assert rows[2]["length_controlled_win_rate"] == pytest.approx(0.4, abs=0.13)
    assert facts["length_effect"] > 0.1


def test_without_evidence_the_default_comes_first_and_then_the_highest() -> None:
    random, sweep = np.random.default_rng(8), spec(promote=3)
    rows, facts = choose(sweep, simulated(sweep, random))
    assert facts["significant"] == 0
    promoted = sorted((row for row in rows if row["promoted"]), key=lambda row: row["promoted"])
    assert promoted[0]["default"]
    others = sorted((row["difference"] for row in rows if not row["default"]), reverse=True)
    assert [row["difference"] for row in promoted[1:]] == others[:2]


def test_rows_say_what_was_compared() -> None:
    sweep = spec(points=2, seeds=1, default=0)
    rows, facts = choose(sweep, simulated(sweep, np.random.default_rng(0)))
    assert [(row["runs"], row["prompts"], json.loads(row["changes"])) for row in rows] == [
        (1, PROMPTS, {"learning_rate": 0.0}),
        (1, PROMPTS, {"learning_rate": 1.0}),
    ]
    assert rows[0]["difference"] is None
    assert facts["run_deviation"] is None


def test_a_missing_policy_is_named() -> None:
    sweep = spec(points=2)
    compared = simulated(sweep, np.random.default_rng(0))
    del compared["rebel_lr1_s2-1"]
    with pytest.raises(UserError, match=r"no comparisons of rebel_lr1_s2-1 by 'judge'"):
        choose(sweep, compared)
