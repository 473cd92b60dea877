"""A reward that checks results against reference answers, on sums of the tiny world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from project import Project, copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.prompts.schema import read_prompts
from rlhf.base.names import Rows
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.tiny.language.grammar import aspects, task_of
from rlhf.tiny.language.tasks import tasks

TRAIN, TEST = 170, 100
CORRECT = """
from rlhf.tiny.language.grammar import aspects, task_of

def correct(records):
    return [aspects(task_of(one["prompt"][-1]["content"]), one["response"]).correctness for one in records]
"""


def arithmetic(project: Project) -> dict[str, Any]:
    """The tiny experiment on the grammar's sums, with their answers in a column."""
    sums = [task for task in tasks().values() if task.family == "sums"]
    rows = [{"prompt": task.prompt, "answer": task.answer[0], "source": "grammar"} for task in sums]
    (project.folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project.folder / "my_checks.py").write_text(CORRECT)
    config = project.read_config("config")
    config["experiment"] = "sums"
    config["prompts"] |= {"dataset": "sums.jsonl", "keep": ["answer"], "train": TRAIN, "test": TEST, "part_size": 200}
    config["rewards"] = {"kind": "math", "answer": "answer"}
    config["evaluation"]["judge"] = {"kind": "function", "function": "my_checks:correct"}
    config["responses"]["draws"] = 8
    config["training"] |= {"epochs": 4}
    config["variants"] = {"rebel": {"loss": {"name": "rebel", "eta": 8.0}}}
    return config


def accuracy(project: Project, policy: str) -> dict[str, float]:
    """Of each held-out prompt, by the grammar's rules: the share of its responses that are right."""
    folder = project.folder / "results/sums"
    prompts = {one.prompt_id: one.text for one in read_prompts(folder / "prompts.parquet", Rows(start=-TEST, stop=0))}
    found: dict[str, list[float]] = {}
    for row in RESPONSES.read(folder / policy / "responses/test-000.parquet").to_pylist():
        right = aspects(task_of(prompts[row["prompt_id"]]), row["response"]).correctness
        found.setdefault(row["prompt_id"], []).append(right)
    return {prompt: float(np.mean(values)) for prompt, values in found.items()}
