"""The program that combines the scores of several scorers."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combine_rewards
from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.base.errors import UserError
from rlhf.base.provenance import digest
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.rewards.settings import CombineSpec

ARMO = [1.0, 2.0, 4.0, 0.0]
LENGTH: list[float | None] = [100.0, 50.0, None, 25.0]
REFERENCES: dict[str, list[Any]] = {"armo": [0.0, 1.0, 5.0, 6.0], "length": [10.0, None, 90.0, 80.0]}
WEIGHTS = {"armo": 3.0, "length": 1.0}


def write(path: Path, rewards: Sequence[float | None]) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "prompt_id": f"p{row // 2}",
            "draw": row % 2,
            "reward": reward,
            "invalid": "too_long" if reward is None else None,
            "objectives": None,
        }
        for row, reward in enumerate(rewards)
    ]
    REWARDS.write(path, rows, {})
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    """Two scorers' files of a part, and of the reference part."""
    rows = [
        {
            "prompt_id": f"p{row // 2}",
            "draw": row % 2,
            "response": "",
            "response_token_ids": [1],
            "finish_reason": "stop",
            "seed": 0,
        }
        for row in range(4)
    ]
    RESPONSES.write(tmp_path / "responses.parquet", rows, {})
    references = [write(tmp_path / "reference" / f"{name}.parquet", scores) for name, scores in REFERENCES.items()]
    scores = [write(tmp_path / "armo.parquet", ARMO), write(tmp_path / "length.parquet", LENGTH)]
    return {"--responses": [tmp_path / "responses.parquet"], "--scores": scores, "--reference-scores": references}


def run_program(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, list[Path]], weights: dict[str, float], output: Path
) -> Path:
    flags = [word for flag, paths in files.items() for word in (flag, *map(str, paths))]
    spec = CombineSpec(weights=weights).model_dump_json()
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec, *flags, "--output", str(output)])
    combine_rewards.main()
    return output


def test_weighted_mean(tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    output = run_program(monkeypatch, files, WEIGHTS, tmp_path / "out.parquet")
    rows = REWARDS.read(output).to_pylist()
    armo = (np.array(ARMO) - np.mean(REFERENCES["armo"])) / np.std(REFERENCES["armo"])
    length = (np.array([100.0, 50.0, np.nan, 25.0]) - 60.0) / np.std([10.0, 90.0, 80.0])
    expected = np.average([armo, length], axis=0, weights=[3.0, 1.0])
    assert rows[2]["reward"] is None
    assert [rows[row]["reward"] for row in (0, 1, 3)] == pytest.approx(expected[[0, 1, 3]], rel=1e-6)
    assert [row["invalid"] for row in rows] == [None, None, "length:too_long", None]
    assert rows[0]["objectives"] == pytest.approx([armo[0], length[0]], rel=1e-6) and rows[2]["objectives"] is None

    provenance = read_provenance(output)
    assert provenance["spec"] == {"weights": WEIGHTS}
    assert provenance["objectives"] == ["armo", "length"]
    assert provenance["counts"] == {"responses": 4, "scored": 3, "invalid": {"length:too_long": 1}}
    assert provenance["scales"]["armo"] == pytest.approx({"mean": 3.0, "deviation": np.std(REFERENCES["armo"])})
    assert provenance["scales"]["length"] == pytest.approx({"mean": 60.0, "deviation": np.std([10.0, 90.0, 80.0])})
    assert provenance["inputs"] == {
        "responses": digest(files["--responses"][0]),
        "scores": [digest(path) for path in files["--scores"]],
        "reference_scores": [digest(path) for path in files["--reference-scores"]],
    }


def test_equal_inputs_give_equal_bytes(
    tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [run_program(monkeypatch, files, WEIGHTS, tmp_path / f"{name}.parquet") for name in "ab"]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("flag", ["--scores", "--reference-scores"])
def test_wrong_number_of_files(
    tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    for paths in (files[flag][:1], [*files[flag], files[flag][0]]):
        with pytest.raises(UserError, match=rf"^{flag}: give one file for each of armo, length"):
            run_program(monkeypatch, {**files, flag: paths}, WEIGHTS, tmp_path / "out.parquet")


def test_mismatched_files(tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.parquet"
    shorter = write(tmp_path / "shorter.parquet", LENGTH[:3])
    scores = [files["--scores"][0], shorter]
    with pytest.raises(
        ArtifactError, match=r"shorter\.parquet and .*armo\.parquet: only one of them has prompt_id='p1'"
    ):
        run_program(monkeypatch, {**files, "--scores": scores}, WEIGHTS, output)
    constant = write(tmp_path / "constant.parquet", [2.5, 2.5, None])
    references = [files["--reference-scores"][0], constant]
    with pytest.raises(UserError, match=r"constant\.parquet: its 2 scores are all equal"):
        run_program(monkeypatch, {**files, "--reference-scores": references}, WEIGHTS, output)
    assert not output.exists()


def test_scores_of_two_revisions_of_a_scorer_are_an_error(
    tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for paths in (files["--scores"], files["--reference-scores"]):
        REWARDS.write(paths[0], REWARDS.read(paths[0]), {"model_revision": "a" * 40})
    output = run_program(monkeypatch, files, WEIGHTS, tmp_path / "out.parquet")
    assert read_provenance(output)["revisions"] == {"scorer armo": "a" * 40}

    reference = files["--reference-scores"][0]
    REWARDS.write(reference, REWARDS.read(reference), {"model_revision": "b" * 40})
    with pytest.raises(
        UserError, match=r"two revisions of the reward model are mixed: .*/armo.parquet has commit aaaa"
    ):
        run_program(monkeypatch, files, WEIGHTS, tmp_path / "out.parquet")


def test_scores_of_other_responses(
    tmp_path: Path, files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = files["--scores"][1]
    REWARDS.write(scored, REWARDS.read(scored), {"inputs": {"responses": "0123456789abcdef"}})
    with pytest.raises(ArtifactError, match=rf"{scored}: the scores were not made from the given responses"):
        run_program(monkeypatch, files, WEIGHTS, tmp_path / "out.parquet")
