"""The program score_responses, run for real, with a reward model and with a function."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.artifacts import read_provenance
from rlhf.chat import encode_conversation
from rlhf.provenance import digest
from rlhf.responses import RESPONSES
from rlhf.rewards import REWARDS, ScoreSpec
from small_models import SCRIPTS, run_program, save_small_reward_model, small_reward_model, write_prompts
from small_tokenizers import small_tokenizer

MAX_TOKENS = 70
ANSWERS = ["the lazy dog", "jumps", "over and over", "", "the quick brown fox " * 20]


@pytest.fixture
def part(tmp_path: Path) -> tuple[Path, Path, list[tuple[str, str]]]:
    """Prompts, the responses to prompts 1 to 4, and both as texts."""
    rows = write_prompts(tmp_path / "prompts.parquet", 6)
    keys = [(row, draw) for row in rows[1:5] for draw in range(5)]
    responses = [
        {
            "prompt_id": row["prompt_id"],
            "draw": draw,
            "response": ANSWERS[draw],
            "response_token_ids": [7],
            "finish_reason": "stop",
            "seed": draw,
        }
        for row, draw in keys
    ]
    RESPONSES.write(tmp_path / "responses.parquet", responses, {})
    texts = [(row["prompt"], ANSWERS[draw]) for row, draw in keys]
    return tmp_path / "prompts.parquet", tmp_path / "responses.parquet", texts


def spec(scorer: dict[str, Any], start: int = 1) -> str:
    return json.dumps({"rows": {"start": start, "stop": 5}, "scorer": scorer, "model": None})


ARMO = {"kind": "armo", "max_tokens": MAX_TOKENS, "precision": "float32"}


def test_a_reward_model(tmp_path: Path, part: tuple[Path, Path, list[tuple[str, str]]]) -> None:
    prompts, responses, texts = part
    folder = save_small_reward_model(tmp_path / "reward_model")
    output = tmp_path / "rewards" / "part.parquet"
    flags = ("--prompts", prompts, "--responses", responses, "--reward-model", folder, "--output", output)
    done = run_program("score_responses", "--spec", spec(ARMO), *flags, "--token-budget", 200)
    assert done.returncode == 0, done.stderr
    assert "scoring: 20 of 20 responses" in done.stderr

    rows = REWARDS.read(output).to_pylist()
    assert [(row["prompt_id"], row["draw"]) for row in rows] == [
        (row["prompt_id"], row["draw"]) for row in RESPONSES.read(responses).to_pylist()
    ]
    tokenizer = small_tokenizer()
    model = small_reward_model(len(tokenizer))
    for row, text in zip(rows, texts, strict=True):
        ids, prompt_tokens = encode_conversation(tokenizer, *text)
        if len(ids) > MAX_TOKENS:
            assert (row["reward"], row["invalid"], row["objectives"]) == (None, "too_long", None)
            continue
        with torch.inference_mode():
            expected = model(torch.tensor([ids]), torch.tensor([prompt_tokens]), torch.tensor([len(ids)]))
        assert row["reward"] == pytest.approx(float(expected.score), abs=1e-5)
        assert row["objectives"] == pytest.approx(expected.objectives[0].tolist(), abs=1e-5)
        assert row["invalid"] is None
    assert 0 < sum(row["reward"] is None for row in rows) < 10

    origin = read_provenance(output)
    assert origin["objectives"] == ["correct", "polite", "brief"]
    assert origin["inputs"] == {
        "prompts": digest(prompts),
        "responses": digest(responses),
        "reward_model": digest(folder),
    }


def score_in(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it from `folder`, where a user's module lies; PYTHONPATH does not help it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(SCRIPTS / "score_responses.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_a_function_of_the_user(tmp_path: Path, part: tuple[Path, Path, list[tuple[str, str]]]) -> None:
    """It lies in the working directory, and its code is part of the provenance."""
    prompts, responses, texts = part
    output = tmp_path / "rewards.parquet"
    settings = spec({"kind": "function", "function": "my_reward:brevity"})
    flags = ("--spec", settings, "--prompts", prompts, "--responses", responses, "--output", output, "--reward-model")
    codes = set()
    for scale in (1, 2):
        (tmp_path / "my_reward.py").write_text(
            f"def brevity(prompts, responses):\n"
            f"    return [{scale} * (len(p) - len(r)) for p, r in zip(prompts, responses)]\n"
        )
        done = score_in(tmp_path, *flags)
        assert done.returncode == 0, done.stderr
        rows = REWARDS.read(output).to_pylist()
        assert [row["reward"] for row in rows] == [scale * (len(prompt) - len(answer)) for prompt, answer in texts]
        assert all(row["invalid"] is None and row["objectives"] is None for row in rows)
        codes.add(read_provenance(output)["code"])
    assert len(codes) == 2


def test_responses_of_another_part(tmp_path: Path, part: tuple[Path, Path, list[tuple[str, str]]]) -> None:
    prompts, responses, _ = part
    (tmp_path / "my_reward.py").write_text("def zero(prompts, responses):\n    return [0] * len(prompts)\n")
    settings = spec({"kind": "function", "function": "my_reward:zero"}, start=2)
    flags = ("--spec", settings, "--prompts", prompts, "--responses", responses)
    done = score_in(tmp_path, *flags, "--output", tmp_path / "rewards.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {responses}: row 0: prompt ")
    assert done.stderr.endswith("is not of this part\n")


def test_help_explains_the_spec() -> None:
    done = run_program("score_responses", "--help")
    assert done.returncode == 0
    for name in ScoreSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
