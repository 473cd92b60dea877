"""The program that builds examples, run for real."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.examples.schema import EXAMPLES
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from small_models import run_program

SPEC = {"rows": {"start": 1, "stop": 31}, "desirable_above": 1.0, "undesirable_below": 0.5, "seed": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """31 prompts; responses to the last 30, three of each, with the rewards 0, 1 and 2."""
    prompts = [{"prompt_id": f"p{n:02d}", "prompt": f"{n}", "prompt_token_ids": [n]} for n in range(31)]
    keys = [{"prompt_id": f"p{n:02d}", "draw": draw} for n in range(1, 31) for draw in range(3)]
    PROMPTS.write(tmp_path / "prompts.parquet", prompts, {})
    text = {"response": "text", "finish_reason": "stop", "seed": 1}
    RESPONSES.write(tmp_path / "responses.parquet", [{**key, **text, "response_token_ids": [7]} for key in keys], {})
    scores = [{**key, "reward": float(key["draw"]), "invalid": None, "objectives": None} for key in keys]
    REWARDS.write(tmp_path / "rewards.parquet", scores, {})
    return tmp_path


def flags(folder: Path, **changes: Any) -> list[object]:
    files = [word for name in ("prompts", "responses", "rewards") for word in (f"--{name}", folder / f"{name}.parquet")]
    return ["--spec", json.dumps({**SPEC, **changes}), *files, "--output", folder / "examples.parquet"]


def test_examples_of_a_part_with_their_counts_and_the_distribution_of_the_rewards(folder: Path) -> None:
    done = run_program("build_examples", *flags(folder))
    assert done.returncode == 0, done.stderr
    rows = EXAMPLES.read(folder / "examples.parquet").to_pylist()
    assert [(row["prompt_id"], row["draw"], row["desirable"]) for row in rows[:3]] == [
        ("p01", 0, False), ("p01", 2, True), ("p02", 0, False)
    ]  # fmt: skip
    origin = read_provenance(folder / "examples.parquet")
    dropped = {"between_thresholds": 30, "no_other_prompt": 0}
    counts = {"responses": 90, "examples": 60, "desirable": 30, "undesirable": 30, "dropped": dropped}
    assert origin["counts"] == counts
    assert json.dumps(counts, sort_keys=True, separators=(",", ":")) in done.stderr
    assert "INFO rewards: lowest 0, 10 % 0, 25 % 0, median 1, 75 % 2, 90 % 2, highest 2" in done.stderr
    assert origin["reward_quantiles"]["median"] == 1.0
    names = ("prompts", "responses", "rewards")
    assert origin["inputs"] == {name: digest(folder / f"{name}.parquet") for name in names}


def test_thresholds_that_leave_one_kind_stop_it_and_leave_no_file(folder: Path) -> None:
    done = run_program("build_examples", *flags(folder, desirable_above=2.0))
    assert done.returncode != 0
    assert "no response is desirable: `examples.desirable_above` is 2" in done.stderr
    assert "highest 2" in done.stderr
    assert not (folder / "examples.parquet").exists()
    done = run_program("build_examples", *flags(folder, undesirable_below=1.5))
    assert "undesirable_below (1.5) is above desirable_above (1)" in done.stderr
