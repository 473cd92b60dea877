"""The program measure_drift, run for real."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.logprobs.schema import DRIFT, Drift
from rlhf.logprobs.settings import DriftSpec
from rlhf.models.policies import load_policy
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from small_models import CPU, direct_logprob, random_ids, run_program, save_small_policy

SPEC: dict[str, Any] = {"rows": {"start": -4, "stop": 0}, "base": None, "precision": "float32", "temperature": 0.8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six prompts, of which the last four are test prompts, in two parts; a policy and another one as base."""
    path, generator = tmp_path_factory.mktemp("drift"), torch.Generator().manual_seed(0)
    prompts = [
        {"prompt_id": f"p{number}", "prompt": "", "prompt_token_ids": random_ids(4 + number, generator)}
        for number in range(6)
    ]
    PROMPTS.write(path / "prompts.parquet", prompts, {})
    for part, members in enumerate([(4, 5), (2, 3)]):
        rows = [
            {
                "prompt_id": f"p{number}",
                "draw": draw,
                "response": "",
                "response_token_ids": random_ids(2 + draw, generator),
                "finish_reason": "stop",
                "seed": 0,
            }
            for number in members
            for draw in range(2)
        ]
        RESPONSES.write(path / f"test-00{part}.parquet", rows, {})
    save_small_policy(path / "policy", seed=1)
    save_small_policy(path / "base", seed=2)
    return path


def measured(folder: Path, output: Path, policy: str) -> list[dict[str, Any]]:
    responses = [folder / f"test-00{part}.parquet" for part in (0, 1)]
    done = run_program(
        "measure_drift",
        *("--spec", json.dumps(SPEC), "--prompts", folder / "prompts.parquet", "--responses", *responses),
        *("--policy", folder / policy, "--base", folder / "base", "--output", output, "--token-budget", 30),
    )
    assert done.returncode == 0, done.stderr
    assert "per_response" in done.stderr
    return DRIFT.read(output).to_pylist()


def test_each_test_response_under_the_policy_and_under_base(folder: Path, tmp_path: Path) -> None:
    rows = measured(folder, tmp_path / "drift.parquet", "policy")
    responses = [row for part in (0, 1) for row in RESPONSES.read(folder / f"test-00{part}.parquet").to_pylist()]
    asked = PROMPTS.read(folder / "prompts.parquet").to_pylist()
    prompts = {row["prompt_id"]: row["prompt_token_ids"] for row in asked}
    policy, base = (load_policy(str(folder / name), None, "float32", CPU).double() for name in ("policy", "base"))
    assert len(rows) == 8
    for row, response in zip(rows, responses, strict=True):
        assert (row["prompt_id"], row["draw"]) == (response["prompt_id"], response["draw"])
        ids = response["response_token_ids"]
        with torch.no_grad():
            expected = [float(direct_logprob(model, prompts[row["prompt_id"]], ids, 0.8)) for model in (policy, base)]
        assert [row["logprob"], row["base_logprob"]] == pytest.approx(expected, abs=1e-4)
    origin = read_provenance(tmp_path / "drift.parquet")
    assert origin["spec"] == SPEC
    assert origin["inputs"]["base"] == digest(folder / "base")
    assert origin["inputs"]["policy"] == digest(folder / "policy")


def test_base_has_not_drifted_from_itself(folder: Path, tmp_path: Path) -> None:
    measured(folder, tmp_path / "drift.parquet", "base")
    assert Drift.of(DRIFT.read(tmp_path / "drift.parquet")) == (0.0, 0.0, 0.0)


def test_help_explains_the_spec() -> None:
    done = run_program("measure_drift", "--help")
    assert done.returncode == 0
    for name in DriftSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
