"""The program score_responses, run for real with the user's function or server."""

import os
import subprocess
from pathlib import Path

import pytest

from judge_server import JudgeServer, prefers
from reward_server import SmallRewardServer
from rlhf.base.artifacts import read_provenance
from rlhf.rewards.schema import REWARDS
from scoring_inputs import Part, spec, write_part
from small_models import SCRIPTS, run_program
from warm_python import warm_program


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return write_part(tmp_path)


def score_in(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it from `folder`, which holds the user's module, without PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(warm_program()), str(SCRIPTS / "score_responses.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_a_function_of_the_user(tmp_path: Path, part: Part) -> None:
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


def test_a_reward_server(tmp_path: Path, part: Part) -> None:
    prompts, responses, texts = part
    output = tmp_path / "rewards.parquet"
    with SmallRewardServer() as server:
        settings = spec({"kind": "http", "url": server.url})
        flags = ("--prompts", prompts, "--responses", responses, "--output", output)
        done = run_program("score_responses", "--spec", settings, *flags)
    assert done.returncode == 0, done.stderr
    rewards = [row["reward"] for row in REWARDS.read(output).to_pylist()]
    assert rewards == [len(answer) or None for _, answer in texts]
    asked = {pair for body in server.bodies for pair in zip(body["prompts"], body["responses"], strict=True)}
    assert asked == set(texts)


def test_none_is_counted_as_a_response_without_a_reward(tmp_path: Path, part: Part) -> None:
    prompts, responses, texts = part
    (tmp_path / "my_reward.py").write_text(
        "def some(prompts, responses):\n    return [float(len(text)) if text else None for text in responses]\n"
    )
    settings = spec({"kind": "function", "function": "my_reward:some"})
    output = tmp_path / "rewards.parquet"
    done = score_in(tmp_path, "--spec", settings, "--prompts", prompts, "--responses", responses, "--output", output)
    assert done.returncode == 0, done.stderr
    rows = REWARDS.read(output).to_pylist()
    assert [row["reward"] for row in rows] == [len(answer) or None for _, answer in texts]
    assert [row["invalid"] for row in rows] == [None if answer else "no_reward" for _, answer in texts]
    assert read_provenance(output)["counts"] == {"responses": 20, "scored": 16, "invalid": {"no_reward": 4}}
    assert "no_reward" in done.stderr


def test_a_function_that_raises_ends_the_program_with_its_own_line(tmp_path: Path, part: Part) -> None:
    prompts, responses, _ = part
    (tmp_path / "my_reward.py").write_text("def inverse(prompts, responses):\n    return [1 / 0 for _ in responses]\n")
    settings = spec({"kind": "function", "function": "my_reward:inverse"})
    flags = ("--spec", settings, "--prompts", prompts, "--responses", responses)
    done = score_in(tmp_path, *flags, "--output", tmp_path / "rewards.parquet")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = "return [1 / 0 for _ in responses]"
    said = f"ZeroDivisionError: division by zero, at {tmp_path / 'my_reward.py'}, line 2: {line}"
    assert f"error: the reward function raised {said}\n" in done.stderr


def test_responses_of_another_part(tmp_path: Path, part: Part) -> None:
    prompts, responses, _ = part
    (tmp_path / "my_reward.py").write_text("def zero(prompts, responses):\n    return [0] * len(prompts)\n")
    settings = spec({"kind": "function", "function": "my_reward:zero"}, start=2)
    flags = ("--spec", settings, "--prompts", prompts, "--responses", responses)
    done = score_in(tmp_path, *flags, "--output", tmp_path / "rewards.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {responses}: row 0: prompt ")
    assert done.stderr.endswith("is not in this part\n")


def test_a_judge_that_compares_responses(tmp_path: Path, part: Part) -> None:
    """A second run asks nothing; responses to compare with shift the scores."""
    prompts, responses, texts = part
    by_length = prefers(lambda prompt, response: float(len(response)))
    files = ("--prompts", prompts, "--responses", responses, "--journal", tmp_path / "journal")
    found = {}
    with JudgeServer(by_length) as server:
        settings = spec({"kind": "llm", "url": server.url, "model": "judge"})
        for name, flags in (("first", ()), ("again", ()), ("shifted", ("--reference-responses", responses))):
            output = tmp_path / f"{name}.parquet"
            done = run_program("score_responses", "--spec", settings, *files, *flags, "--output", output)
            assert done.returncode == 0, done.stderr
            assert '"disagreements":0' in done.stderr
            found[name] = [row["reward"] for row in REWARDS.read(output).to_pylist()]
        assert set(server.answered.values()) == {1}
    assert found["first"] == found["again"] == pytest.approx(found["shifted"])
    for prompt in {prompt for prompt, _ in texts}:
        own = [(len(answer), score) for (asked, answer), score in zip(texts, found["first"], strict=True)
               if asked == prompt]  # fmt: skip
        assert [length for length, _ in sorted(own)] == [length for length, _ in sorted(own, key=lambda row: row[1])]
