"""Pairs in the columns of other trainers hold what the pairs and the prompts hold, slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlhf.base.artifacts as artifacts
import rlhf.publishing.preferences as preferences
from arrow_memory import peak_of
from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.base.provenance import digest
from rlhf.pairs.schema import PAIRS, REWARD_COLUMNS, UNSCORED_PAIRS, artifact_of_pairs, pair_artifact
from rlhf.prompts.schema import CHATS, PROMPTS
from rlhf.publishing.preferences import PREFERENCES, preference_artifact, write_preferences

PROGRAM = Path(preferences.__file__)
COUNT = 11


def write_prompts(folder: Path, system: str | None = None) -> Path:
    before = [] if system is None else [{"role": "system", "content": system}]
    rows = [
        {
            "prompt_id": f"p{row}",
            "prompt": f"Question {row}?",
            "prompt_token_ids": [row],
            "messages": [*before, {"role": "user", "content": f"Question {row}?"}],
            "kept": "{}",
        }
        for row in range(COUNT)
    ]
    if system is None:
        PROMPTS.write(
            folder / "prompts.parquet", [{name: row[name] for name in PROMPTS.schema.names} for row in rows], {}
        )
    else:
        CHATS.write(folder / "prompts.parquet", rows, {"chats": True})
    return folder / "prompts.parquet"


def write_pairs(folder: Path, prompts: Path, numbers: list[int], start: int, stop: int) -> Path:
    rows = [
        {
            "prompt_id": f"p{number}",
            "chosen": f"good {number}",
            "rejected": f"bad {number}",
            "chosen_reward": number + 0.5,
            "rejected_reward": -number - 0.25,
            "chosen_draw": number % 3,
            "rejected_draw": (number + 1) % 3,
            **{f"{of}_token_ids": [1] for of in ("prompt", "chosen", "rejected")},
            **dict.fromkeys(("chosen_win_probability", "rejected_win_probability"), 0.5),
        }
        for number in numbers
    ]
    origin = {"spec": {"rows": {"start": start, "stop": stop}}, "inputs": {"prompts": digest(prompts)}}
    PAIRS.write(folder / "pairs.parquet", rows, origin)
    return folder / "pairs.parquet"


def expected(number: int, system: str | None) -> dict[str, Any]:
    before = [{"role": "system", "content": system}] if system else []
    before = [*before, {"role": "user", "content": f"Question {number}?"}]
    return {
        "prompt": f"Question {number}?",
        "prompt_id": f"p{number}",
        "chosen": [*before, {"role": "assistant", "content": f"good {number}"}],
        "rejected": [*before, {"role": "assistant", "content": f"bad {number}"}],
        "score_chosen": number + 0.5,
        "score_rejected": -number - 0.25,
        "chosen_draw": number % 3,
        "rejected_draw": (number + 1) % 3,
    }


@pytest.mark.parametrize("rows_at_once", [1, 2, 4096])
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize(
    ("numbers", "start", "stop"),
    [([0, 1, 4], 0, 5), ([4, 6], 3, 8), ([10], -1, 0), ([8, 9], -4, 0), ([7, 8], -5, -2), ([], 0, 4)],
)
def test_every_pair_is_there_with_its_prompt(
    numbers: list[int],
    start: int,
    stop: int,
    system: str | None,
    rows_at_once: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preferences, "ROWS_PER_GROUP", rows_at_once)
    prompts = write_prompts(tmp_path, system)
    pairs = write_pairs(tmp_path, prompts, numbers, start, stop)
    write_preferences(PROGRAM, prompts, pairs, tmp_path / "made.parquet")
    made = PREFERENCES.read(tmp_path / "made.parquet").to_pylist()
    assert made == [expected(number, system) for number in numbers]
    assert read_provenance(tmp_path / "made.parquet")["inputs"] == {"prompts": digest(prompts), "pairs": digest(pairs)}


@pytest.mark.parametrize("pooled", [False, True])
def test_several_pairs_of_a_prompt_each_have_it(pooled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a slice ends between the pairs of a prompt; the draws of a pool say whose they are."""
    monkeypatch.setattr(preferences, "ROWS_PER_GROUP", 2)
    prompts = write_prompts(tmp_path)
    first, other = PAIRS.read(write_pairs(tmp_path, prompts, [1, 4], 0, 5)).to_pylist()
    rows: list[dict[str, Any]] = [{**first, "chosen_draw": 0, "rejected_draw": draw} for draw in (1, 2, 3)]
    rows.append(other)
    spec = {"rows": {"start": 0, "stop": 5}, "per_prompt": 3, **({"pool": ["a", "b"]} if pooled else {})}
    if pooled:
        rows = [{**row, "chosen_policy": "a", "rejected_policy": "b"} for row in rows]
    path = tmp_path / "pairs.parquet"
    artifact = artifact_of_pairs(pooled=pooled, per_prompt=3)
    artifact.write(path, rows, {"spec": spec, "inputs": {"prompts": digest(prompts)}})
    assert pair_artifact(path) == artifact
    write_preferences(PROGRAM, prompts, path, tmp_path / "made.parquet")
    made = preference_artifact(artifact).read(tmp_path / "made.parquet").to_pylist()
    assert [row["prompt"] for row in made] == ["Question 1?"] * 3 + ["Question 4?"]
    assert [[row[name] for name in artifact.key] for row in made] == [[r[name] for name in artifact.key] for r in rows]


def test_imported_pairs_without_scores(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path)
    pairs = write_pairs(tmp_path, prompts, [1, 2], 0, 5)
    rows = [{**row, **dict.fromkeys(REWARD_COLUMNS)} for row in PAIRS.read(pairs).to_pylist()]
    origin = read_provenance(pairs)
    UNSCORED_PAIRS.write(pairs, rows, {**origin, "spec": {**origin["spec"], "chosen_score": None}})
    write_preferences(PROGRAM, prompts, pairs, tmp_path / "made.parquet")
    made = preference_artifact(UNSCORED_PAIRS).read(tmp_path / "made.parquet").to_pylist()
    assert made == [{**expected(number, None), "score_chosen": None, "score_rejected": None} for number in (1, 2)]


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path)
    pairs = write_pairs(tmp_path, prompts, [1, 2], 0, 5)
    target = tmp_path / "made.parquet"
    write_preferences(PROGRAM, prompts, pairs, target)
    first = target.stat()
    write_preferences(PROGRAM, prompts, pairs, target)
    assert target.stat() == first
    write_preferences(PROGRAM, prompts, write_pairs(tmp_path, prompts, [1], 0, 5), target)
    assert [row["prompt_id"] for row in PREFERENCES.read(target).to_pylist()] == ["p1"]


def test_pairs_of_other_prompts_are_refused(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path)
    with pytest.raises(ArtifactError, match=r"prompt_id='p7' is not among the prompts of its part"):
        write_preferences(PROGRAM, prompts, write_pairs(tmp_path, prompts, [7], 0, 5), tmp_path / "made.parquet")
    pairs = write_pairs(tmp_path, prompts, [1], 0, 5)
    with pytest.raises(ArtifactError, match="were not made from the given prompts"):
        write_preferences(PROGRAM, write_prompts(tmp_path, "Other."), pairs, tmp_path / "made.parquet")
    assert not (tmp_path / "made.parquet").exists()


def test_three_times_the_rows_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (artifacts, preferences):
        monkeypatch.setattr(module, "ROWS_PER_GROUP", 50)
    few, many = (peak_with(tmp_path / str(count), count) for count in (1000, 3000))
    assert many < 1.5 * few


def peak_with(folder: Path, count: int) -> int:
    """Bytes that Arrow holds at most, of so many pairs of 4 kB each."""
    folder.mkdir()
    long = "word " * 400
    prompts = [{"prompt_id": f"p{row:05}", "prompt": f"{row} {long}", "prompt_token_ids": [1]} for row in range(count)]
    PROMPTS.write(folder / "prompts.parquet", prompts, {"spec": {}})
    row = PAIRS.read(write_pairs(folder, folder / "prompts.parquet", [0], 0, 1)).to_pylist()[0]
    rows = [{**row, "prompt_id": f"p{number:05}", "chosen": f"{number} {long}"} for number in range(count)]
    PAIRS.write(folder / "pairs.parquet", rows, {"spec": {"rows": {"start": 0, "stop": count}}, "inputs": {}})
    target = folder / "made.parquet"
    peak = peak_of(lambda: write_preferences(PROGRAM, folder / "prompts.parquet", folder / "pairs.parquet", target))
    assert PREFERENCES.read(target).num_rows == count
    return peak
