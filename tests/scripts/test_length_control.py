"""The program length_control: on the published annotations of AlpacaEval 2, and on small files."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from rlhf.evaluation.comparisons import read_comparisons
from rlhf.evaluation.difficulty import prompt_difficulty
from rlhf.evaluation.length_control import length_controlled
from rlhf.evaluation.schema import LENGTH_CONTROL
from warm_python import warm_program

ROOT = Path(__file__).parents[2]
ANNOTATIONS = ROOT.parent / "shared/data/alpaca_eval_annotations.parquet"
NEEDS_ANNOTATIONS = pytest.mark.skipif(not ANNOTATIONS.exists(), reason="the annotations are no part of the project")


def control(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [warm_program(), ROOT / "scripts" / "length_control.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("annotations") / "comparisons.parquet"
    table = pq.read_table(ANNOTATIONS).rename_columns({"model": "policy", "instruction": "prompt_id"})
    pq.write_table(table.select(["policy", "prompt_id", "preference", "length", "reference_length"]), path)
    return path


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[float, float]]:
    """Win rate and length-controlled win rate of the leaderboard, in percent."""
    columns = ["model", "published_win_rate", "published_length_controlled_win_rate"]
    rows = pq.read_table(ANNOTATIONS, columns=columns).to_pylist()
    return {row["model"]: (row[columns[1]], row[columns[2]]) for row in rows}


@NEEDS_ANNOTATIONS
def test_it_is_close_to_the_leaderboard_of_alpaca_eval(
    tmp_path: Path, annotations: Path, published: dict[str, tuple[float, float]]
) -> None:
    """28 models, each with the difficulty from the other 27."""
    done = control("--comparisons", annotations, "--output", tmp_path / "rates.parquet")
    assert done.returncode == 0, done.stderr
    rows = LENGTH_CONTROL.read(tmp_path / "rates.parquet").to_pylist()
    assert len(rows) == len(published) == 28
    found = np.array([[row["win_rate"], row["length_controlled_win_rate"]] for row in rows]) * 100
    expected = np.array([published[row["policy"]] for row in rows])
    assert found[:, 0] == pytest.approx(expected[:, 0], abs=1e-4)
    assert np.abs(found[:, 1] - expected[:, 1]).mean() <= 2.5
    assert spearmanr(found[:, 1], expected[:, 1]).statistic >= 0.94
    assert {row["difficulty_from"] for row in rows} == {26, 27}  # one is the reference, which tells no prompts apart
    for row in rows:
        assert row["length_controlled_low"] <= row["length_controlled_win_rate"] <= row["length_controlled_high"]


@NEEDS_ANNOTATIONS
def test_five_other_models_are_enough_for_four_points(
    annotations: Path, published: dict[str, tuple[float, float]]
) -> None:
    policies = read_comparisons([annotations])["judge"]
    chance, errors = np.random.default_rng(7), []
    for name, found in policies.items():
        others = chance.choice([other for other in policies if other != name], 5, replace=False)
        difficulty, _ = prompt_difficulty(found.prompts[0], [policies[other] for other in others])
        rate = length_controlled(found, difficulty, 0.95).rate
        assert rate is not None
        errors.append(abs(100 * rate - published[name][1]))
    assert np.mean(errors) <= 4


def write(path: Path, policy: str, seed: int, prompts: int = 60, skill: float = 0.0) -> Path:
    chance = np.random.default_rng(seed)
    columns = {
        "policy": [policy] * prompts,
        "prompt_id": [f"{number:03}" for number in range(prompts)],
        "preference": (chance.random(prompts) < 0.5 + skill).astype(float),
        "length": chance.integers(50, 150, prompts),
        "reference_length": chance.integers(50, 150, prompts),
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_difficulty_comes_from_further_files_too_and_they_get_no_row(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", "one", 1), write(tmp_path / "two", "two", 2)
    for further, policies in (([], 0), ([two], 1)):
        output = tmp_path / f"rates-{policies}.parquet"
        done = control("--comparisons", one, "--difficulty-comparisons", *further, "--output", output)
        assert done.returncode == 0, done.stderr
        (row,) = LENGTH_CONTROL.read(output).to_pylist()
        assert (row["policy"], row["prompts"], row["difficulty_from"]) == ("one", 60, policies)
        assert f"from {policies} other policies" in done.stderr


def test_policies_of_other_experiments_may_have_the_same_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "rebel-1", 1)
    others = [write(tmp_path / f"other-{seed}", "rebel-1", seed) for seed in (2, 3)]
    done = control("--comparisons", one, "--difficulty-comparisons", *others, "--output", tmp_path / "rates")
    assert done.returncode == 0, done.stderr
    (row,) = LENGTH_CONTROL.read(tmp_path / "rates").to_pylist()
    assert (row["policy"], row["prompts"], row["difficulty_from"]) == ("rebel-1", 60, 2)


def test_equal_input_gives_equal_bytes_in_any_order_of_files(tmp_path: Path) -> None:
    files = [write(tmp_path / name, name, seed) for seed, name in enumerate(("one", "two", "three"))]
    rows = []
    for number, order in enumerate((files, files, files[::-1])):
        output = tmp_path / f"{number}.parquet"
        assert control("--comparisons", *order, "--output", output).returncode == 0
        rows.append(LENGTH_CONTROL.read(output))
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert rows[0].equals(rows[2])


def test_what_the_data_cannot_tell_is_null_with_a_reason(tmp_path: Path) -> None:
    done = control("--comparisons", write(tmp_path / "one", "one", 1, prompts=3), "--output", tmp_path / "rates")
    assert done.returncode == 0, done.stderr
    (row,) = LENGTH_CONTROL.read(tmp_path / "rates").to_pylist()
    assert (row["length_controlled_win_rate"], row["unknown"]) == (None, "few_prompts")
    assert "length-controlled none: few_prompts" in done.stderr


def test_confidence_and_seed_are_settings(tmp_path: Path) -> None:
    path, widths = write(tmp_path / "one", "one", 1), []
    for confidence in (0.5, 0.99):
        spec = json.dumps({"confidence": confidence, "bootstrap_samples": 200, "seed": 3})
        assert control("--spec", spec, "--comparisons", path, "--output", tmp_path / "rates").returncode == 0
        (row,) = LENGTH_CONTROL.read(tmp_path / "rates").to_pylist()
        widths.append([row[f"{name}_high"] - row[f"{name}_low"] for name in ("win_rate", "length_controlled")])
    assert (np.array(widths[1]) > 2 * np.array(widths[0])).all()
