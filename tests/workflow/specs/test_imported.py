"""Where the rewards of imported responses are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.responses.settings import ImportedSettings
from workflow.specs.imported import rewards_place


@pytest.mark.parametrize(
    ("dataset", "subset", "expected"),
    [
        ("data.jsonl", None, ("data.jsonl", None)),  # in the working directory itself
        ("owner/name", "en", ("owner/name", "en")),
        ("owner/name", "base_responses", ("owner/name", "base_rewards")),
        ("run/base/responses", None, ("run/base/rewards", None)),
        ("run/base/responses/train-000.parquet", None, ("run/base/rewards/train-000.parquet", None)),
        ("other/base/responses", None, ("other/base/responses", None)),
    ],
)
def test_rewards_are_beside_own_responses_and_else_among_them(
    dataset: str, subset: str | None, expected: tuple[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("responses", "rewards"):
        (tmp_path / "run/base" / kind).mkdir(parents=True)
        (tmp_path / "run/base" / kind / "train-000.parquet").touch()
    (tmp_path / "other/base/responses").mkdir(parents=True)
    (tmp_path / "data.jsonl").touch()
    assert rewards_place(ImportedSettings(dataset=dataset, subset=subset, rewards=True)) == expected
