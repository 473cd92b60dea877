"""The program that imports rewards."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import import_responses
import import_rewards
from collecting import collected_prompts
from rlhf.base.artifacts import read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.base.provenance import digest
from rlhf.models.source import ModelSource
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.responses.settings import ImportResponsesSpec, ImportSpec
from rlhf.rewards.schema import REWARDS
from small_tokenizers import small_tokenizer

WIDE: list[dict[str, Any]] = [
    {"prompt": "b", "response_0": "b0", "response_1": None, "response_0_reward": 0.5, "response_1_reward": 7.0},
    {"prompt": "z", "response_0": "z0", "response_1": "z1", "response_0_reward": 9.0, "response_1_reward": 9.0},
    {"prompt": "a", "response_0": "a0", "response_1": "a1", "response_0_reward": -1.5, "response_1_reward": None},
]
LONG: list[dict[str, Any]] = [
    {"prompt": row["prompt"], "response": row[f"response_{draw}"], "reward": row[f"response_{draw}_reward"]}
    for draw in (0, 1)
    for row in WIDE
]


def spec_values(dataset: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"dataset": str(dataset), "dataset_fingerprint": "x", "revision": None, "split": "train"}
    return {**values, "column": "prompt", "rows": Rows(start=0, stop=2), "draws": 2, **changes}


def run_program(monkeypatch: pytest.MonkeyPatch, dataset: Path, prompts: Path, output: Path, **changes: Any) -> Path:
    spec = ImportSpec.model_validate(spec_values(dataset, **changes)).model_dump_json()
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec, "--prompts", str(prompts), "--output", str(output)])
    import_rewards.main()
    return output


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    table = pa.concat_tables(collected_prompts(["a", "b"], small_tokenizer()).kept.tables())
    PROMPTS.write(tmp_path / "prompts.parquet", table, {})
    return tmp_path / "prompts.parquet"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """JSON lines as Python writes them, with literals NaN and Infinity."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table_of(rewards: Path, prompts: Path) -> dict[tuple[str, int], tuple[float | None, str | None]]:
    texts = {row["prompt_id"]: row["prompt"] for row in PROMPTS.read(prompts).to_pylist()}
    rows = REWARDS.read(rewards).to_pylist()
    return {(texts[row["prompt_id"]], row["draw"]): (row["reward"], row["invalid"]) for row in rows}


def test_rewards_of_every_form(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    pq.write_table(pa.Table.from_pylist(WIDE), repository / "test.parquet")
    pq.write_table(pa.Table.from_pylist(WIDE), tmp_path / "wide.parquet")
    float_column = {"prompt": pa.string(), "response": pa.string(), "reward": pa.float32()}
    pq.write_table(pa.Table.from_pylist(LONG, schema=pa.schema(float_column)), tmp_path / "long.parquet")
    cases: list[tuple[Path, dict[str, Any]]] = [
        (write(tmp_path / "wide.jsonl", WIDE), {}),
        (write(tmp_path / "long.jsonl", LONG), {}),
        (tmp_path / "wide.parquet", {}),
        (tmp_path / "long.parquet", {}),
        (repository, {"split": "test"}),
    ]
    for number, (dataset, changes) in enumerate(cases):
        output = run_program(monkeypatch, dataset, prompts, tmp_path / f"out-{number}.parquet", **changes)
        assert table_of(output, prompts) == {
            ("a", 0): (-1.5, None),
            ("a", 1): (None, "no_reward"),
            ("b", 0): (0.5, None),
        }
        provenance = read_provenance(output)
        assert provenance["counts"] == {"responses": 3, "scored": 2, "invalid": {"no_reward": 1}}
        assert provenance["inputs"] == {"prompts": digest(prompts), "dataset": digest(dataset)}
        assert provenance["dataset_revision"] is None


def test_responses_and_rewards_have_the_same_keys(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where rows are missing, beyond the draws, or of a prompt that occurs twice."""
    twice = [*WIDE, {**WIDE[2], "response_0": None}]
    for number, rows in enumerate((WIDE, LONG, [*LONG, *LONG], twice)):
        dataset = write(tmp_path / f"data-{number}.jsonl", rows)
        rewards = run_program(monkeypatch, dataset, prompts, tmp_path / "rewards.parquet")
        model = ModelSource(name=str(policy_folder))
        spec = ImportResponsesSpec.model_validate(spec_values(dataset, model=model, max_tokens=9)).model_dump_json()
        responses = tmp_path / "responses.parquet"
        monkeypatch.setattr(sys, "argv", ["x", "--spec", spec, "--prompts", str(prompts), "--output", str(responses)])
        import_responses.main()
        keys = [
            artifact.read(path, ["prompt_id", "draw"])
            for artifact, path in ((RESPONSES, responses), (REWARDS, rewards))
        ]
        assert keys[0].equals(keys[1]) and len(keys[0]) == 3


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf"), "high", True, 1e39])
def test_bad_rewards_are_an_error_with_file_row_and_remedy(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch, reward: object
) -> None:
    dataset = write(
        tmp_path / "data.jsonl", [{**row, "reward": reward} if row["prompt"] == "a" else row for row in LONG]
    )
    with pytest.raises(UserError) as error:
        run_program(monkeypatch, dataset, prompts, tmp_path / "out.parquet")
    assert str(error.value).startswith(
        f"{dataset}: 2 values cannot be used:\n  row 2, column 'reward': {reward!r} is not"
    )
    assert "row 5, column 'reward'" in str(error.value) and "Fix these rows; use null for" in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_nan_in_parquet_is_not_null(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table(
        {"prompt": ["a", "b"], "response": ["x", "y"], "reward": pa.array([float("nan"), None], pa.float32())}
    )
    pq.write_table(table, tmp_path / "data.parquet")
    with pytest.raises(UserError, match=r"data\.parquet: 1 values cannot be used:\n  row 0, column 'reward': nan"):
        run_program(monkeypatch, tmp_path / "data.parquet", prompts, tmp_path / "out.parquet")


def test_missing_reward_columns_and_files(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{key: value for key, value in row.items() if key != "response_1_reward"} for row in WIDE]
    dataset = write(tmp_path / "data.jsonl", rows)
    with pytest.raises(UserError, match=r"data\.jsonl: there is no column 'response_1_reward'; there are 'prompt'"):
        run_program(monkeypatch, dataset, prompts, tmp_path / "out.parquet")
    with pytest.raises(UserError, match=r"absent\.parquet: there is no such file"):
        run_program(monkeypatch, tmp_path / "absent.parquet", prompts, tmp_path / "out.parquet")
