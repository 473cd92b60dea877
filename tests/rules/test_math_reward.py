"""A reward that checks results against reference answers, on the sums of the tiny world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from project import Project, copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.base.names import Rows
from rlhf.evaluation.schema import EVALUATION
from rlhf.prompts.schema import read_prompts
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.tiny.language.grammar import aspects, task_of
from rlhf.tiny.language.tasks import tasks

TRAIN, TEST, DRAWS = 170, 100, 8
JUDGE = """
from rlhf.tiny.language.grammar import aspects, task_of

async def rated(records):
    found = [aspects(task_of(record["prompt"][-1]["content"]), record["response"]) for record in records]
    return [(one.correctness, {"correct": one.correctness, "brief": one.brevity}) for one in found]
"""


def sums(project: Project) -> dict[str, Any]:
    """The tiny experiment on the grammar's sums, with their answers in a column."""
    chosen = [task for task in tasks().values() if task.family == "sums"]
    rows = [{"prompt": task.prompt, "answer": task.answer[0], "source": "grammar"} for task in chosen]
    (project.folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project.folder / "my_judge.py").write_text(JUDGE)
    config = project.read_config("config")
    config["experiment"] = "sums"
    config["prompts"] |= {"dataset": "sums.jsonl", "keep": ["answer"], "train": TRAIN, "test": TEST, "part_size": 200}
    config["responses"]["draws"] = DRAWS
    config["rewards"] = {"kind": "math", "answer": "answer"}
    config["training"]["epochs"] = 4
    config["variants"] = {"rebel": {"loss": {"name": "rebel", "eta": 8.0}}}
    config["evaluation"]["judge"] = {"kind": "function", "function": "my_judge:rated"}
    return config


def right_answers(project: Project, policy: str) -> dict[tuple[str, int], float]:
    """Whether each response to a held-out prompt is right by the grammar's rules: in order of prompts and draws."""
    folder = project.folder / "results/sums"
    prompts = {one.prompt_id: one.text for one in read_prompts(folder / "prompts.parquet", Rows(start=-TEST, stop=0))}
    rows = RESPONSES.read(folder / policy / "responses/test-000.parquet").to_pylist()
    return {
        (row["prompt_id"], row["draw"]): aspects(task_of(prompts[row["prompt_id"]]), row["response"]).correctness
        for row in rows
    }


def stored(project: Project, policy: str, artifact: str) -> dict[tuple[str, int], float]:
    rows = REWARDS.read(project.folder / f"results/sums/{policy}/{artifact}/test-000.parquet").to_pylist()
    return {(row["prompt_id"], row["draw"]): row["reward"] for row in rows}


@pytest.mark.slow
def test_a_math_reward_trains_a_policy_that_calculates_better(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    project.run(configfile=project.write_config(sums(project), "sums"))
    right = {policy: right_answers(project, policy) for policy in ("base", "rebel-1")}
    for policy, found in right.items():
        reward = stored(project, policy, "rewards")
        agreement = np.mean([reward[key] == value for key, value in found.items()])
        assert agreement > 0.9  # by the grammar, "3 plus 2 is 6" is no right answer to "What is 3 plus 3?"
        assert stored(project, policy, "judgements") == found
    gains = np.array(list(right["rebel-1"].values())) - np.array(list(right["base"].values()))
    by_prompt = gains.reshape(TEST, DRAWS).mean(1)
    rng = np.random.default_rng(0)
    resampled = rng.choice(by_prompt, (2000, TEST)).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    before, after = (np.mean(list(found.values())) for found in right.values())
    print(f"accuracy {before:.3f} -> {after:.3f}, gain {by_prompt.mean():.3f} [{low:.3f}, {high:.3f}]")
    assert low > 0.1

    folder = project.folder / "results/sums/base"
    grading = read_provenance(folder / "rewards/test-000.parquet")["grading"]
    assert sum(grading.values()) == TEST * DRAWS
    assert grading["correct"] == sum(stored(project, "base", "rewards").values())
    assert read_provenance(folder / "judgements/test-000.parquet")["objectives"] == ["correct", "brief"]
    rows = EVALUATION.read(project.folder / "results/sums/rebel-1/evaluation.parquet").to_pylist()
    assert {row["judge"]: row["mean_reward"] for row in rows}["judge"] == pytest.approx(after, abs=1e-6)
