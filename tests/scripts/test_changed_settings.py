"""What changed since a result was made, in words."""

import json
from pathlib import Path
from typing import Any

from changed_settings import changed_settings, named_changes
from dry_run import PlannedJob
from rlhf.prompts import PROMPTS

MADE: dict[str, Any] = {
    "recipe": {"learning_rate": 0.0001, "epochs": 1, "lora": None},
    "loss": {"name": "dpo", "beta": 0.1},
    "seed": 1,
    "system": "a" * 100,
}
ASKED: dict[str, Any] = {
    "recipe": {"learning_rate": 0.0002, "epochs": 1, "lora": {"rank": 8}},
    "loss": {"name": "simpo", "beta": 0.1, "gamma": 1.0},
    "seed": 1,
    "system": "b" * 100,
}


def planned(folder: Path, output: Path, spec: object, code: str) -> PlannedJob:
    return PlannedJob(
        rule="collect_prompts",
        position=0,
        policy="",
        part="",
        outputs=(output,),
        program="scripts/collect_prompts.py",
        spec=json.dumps(spec),
        code=code,
        reasons=(),
        gpus=0,
        memory_mb=0,
        minutes=0,
        record=folder / "none.tsv",
    )


def test_each_setting_with_both_values() -> None:
    assert list(changed_settings(MADE, ASKED)) == [
        "loss.gamma none -> 1.0",
        'loss.name "dpo" -> "simpo"',
        "learning_rate 0.0001 -> 0.0002",
        'lora null -> {"rank": 8}',
        f'system "{"a" * 36}... -> "{"b" * 36}...',
    ]
    assert list(changed_settings(MADE, MADE)) == []


def test_of_an_artifact_and_of_a_folder(tmp_path: Path) -> None:
    artifact, folder = tmp_path / "prompts.parquet", tmp_path / "checkpoint"
    origin = {"spec": {"seed": 1}, "code": "a"}
    PROMPTS.write(artifact, [], origin)
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps(origin))
    for output in (artifact, folder):
        assert named_changes(planned(tmp_path, output, {"seed": 1}, "a")) == []
        assert named_changes(planned(tmp_path, output, {"seed": 2}, "b")) == ["seed 1 -> 2", "code"]


def test_results_that_are_not_there_or_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "report").mkdir()
    for name in ("damaged.parquet", "none.parquet", "report"):
        assert named_changes(planned(tmp_path, tmp_path / name, {"seed": 2}, "b")) == []
