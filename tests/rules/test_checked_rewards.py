"""Rewards that are checked against kept columns, through the real programs: the values, and what an edit reruns."""

from __future__ import annotations

import copy
import json
import re
import statistics
from typing import Any

import pytest

from project import Project
from rlhf.base.artifacts import read_provenance
from rlhf.base.names import Rows
from rlhf.prompts.schema import read_prompts
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.tiny.language.tasks import tasks

PARTS = ("train-000", "train-001")
SCORERS: dict[str, dict[str, Any]] = {
    "calculated": {"kind": "math", "answer": "answer"},
    "constrained": {"kind": "ifeval", "credit": "all"},
    "matched": {"kind": "exact_match", "answer": "letter", "pattern": "[a-z]"},
    "own": {"kind": "function", "function": "my_rewards:rated"},
}
TARGETS = [f"results/micro/base/scores/{name}/{part}.parquet" for name in SCORERS for part in PARTS]
FUNCTION = """
import asyncio

async def rated(records):
    await asyncio.sleep(0)
    return [
        {"reward": len(record["response"]), "objectives": {"turns": len(record["prompt"]), "level": record["level"]}}
        for record in records
    ]
"""


def write_dataset(project: Project) -> None:
    """Sums as conversations of two turns, with columns that the scorers read; one answer is missing."""
    rows = [
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello!"},
                {"role": "assistant", "content": "Hello, Anna."},
                {"role": "user", "content": task.prompt},
            ],
            "answer": task.answer[0] if number else None,
            "letter": "abcdefghij"[number % 10],
            "level": number,
            "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
            "kwargs": [{"num_words": None}, {"num_words": 3 + number, "relation": "less than"}],
        }
        for number, task in enumerate([task for task in tasks().values() if task.family == "sums"][:16])
    ]
    (project.folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def combined(project: Project, **changes: dict[str, Any]) -> str:
    """The micro experiment on these prompts; `changes` are of the scorers' keys."""
    config = project.read_config()
    keep = ["answer", "letter", "level", "instruction_id_list", "kwargs"]
    config["prompts"] |= {"dataset": "sums.jsonl", "keep": keep, "max_tokens": 200}
    scorers = copy.deepcopy(SCORERS)
    for name, change in changes.items():
        scorers[name] |= change
    weighted = {name: {"scorer": scorer} for name, scorer in scorers.items()}
    config["rewards"] = {"kind": "combined", "scorers": weighted}
    config["evaluation"]["judge"] = scorers["own"]
    return project.write_config(config, "checked")


@pytest.fixture
def project(scratch_micro: Project) -> Project:
    write_dataset(scratch_micro)
    (scratch_micro.folder / "my_rewards.py").write_text(FUNCTION)
    scratch_micro.run(*TARGETS, configfile=combined(scratch_micro))
    return scratch_micro


def scores(project: Project, name: str) -> list[float | None]:
    folder = project.folder / f"results/micro/base/scores/{name}"
    return [row["reward"] for part in PARTS for row in REWARDS.read(folder / f"{part}.parquet").to_pylist()]


@pytest.mark.slow
def test_rewards_that_read_kept_columns(project: Project) -> None:
    results = project.folder / "results/micro"
    kept = {one.prompt_id: one for one in read_prompts(results / "prompts.parquet", Rows(start=0, stop=8))}
    rows = [row for part in PARTS for row in RESPONSES.read(results / f"base/responses/{part}.parquet").to_pylist()]
    columns = [kept[row["prompt_id"]].columns for row in rows]
    texts = [row["response"] for row in rows]
    assert {len(one.messages) for one in kept.values()} == {4}

    assert scores(project, "own") == [len(text) for text in texts]
    letters = [[letter for letter in text if letter.islower() and letter.isascii()] for text in texts]
    expected = [float(found[-1:] == [one["letter"]]) for found, one in zip(letters, columns, strict=True)]
    assert scores(project, "matched") == expected
    words = [len(re.findall(r"\w+", text)) for text in texts]
    expected = [
        float("," not in text and count < one["level"] + 3 and bool(text.strip()))
        for text, count, one in zip(texts, words, columns, strict=True)
    ]
    assert scores(project, "constrained") == expected
    missing = [one["answer"] is None for one in columns]
    assert [score is None for score in scores(project, "calculated")] == missing
    assert statistics.fmean(score or 0.0 for score in scores(project, "constrained")) > 0

    origin = read_provenance(results / "base/scores/own/train-000.parquet")
    assert origin["objectives"] == ["turns", "level"]
    part = REWARDS.read(results / "base/scores/own/train-000.parquet").to_pylist()
    level = {prompt: float(one.columns["level"]) for prompt, one in kept.items()}
    assert [row["objectives"] for row in part] == [[4.0, level[row["prompt_id"]]] for row in part]
    graded = read_provenance(results / "base/scores/calculated/train-000.parquet")
    assert sum(graded["grading"].values()) == len(part)
    assert set(graded["libraries"]) == {"math-verify", "sympy"}


@pytest.mark.slow
def test_an_edit_reruns_the_scorer_that_it_concerns(project: Project) -> None:
    edits: list[tuple[str, dict[str, Any]]] = [
        ("matched", {"pattern": "[b-z]"}),
        ("matched", {"answer": "answer"}),
        ("matched", {"ignore_case": False}),
        ("calculated", {"answer": "letter"}),
        ("constrained", {"reading": "loose"}),
        ("constrained", {"credit": "share"}),
        ("constrained", {"instructions": "letter"}),
        ("constrained", {"arguments": "letter"}),
    ]
    for name, change in edits:
        config = combined(project, **{name: change})
        assert project.planned(*TARGETS, configfile=config) == {"score_responses": {"base"}}, (name, change)
        outputs = project.planned_outputs(*TARGETS, configfile=config)
        assert outputs == {path for path in TARGETS if f"/{name}/" in path}
    for module, name in (("mathematics", "calculated"), ("matching", "matched"), ("constraints", "constrained")):
        path = project.folder / f"scripts/rlhf/rewards/verifiable/{module}.py"
        path.write_text(path.read_text() + "\nEDITED = True\n")
        outputs = project.planned_outputs(*TARGETS, configfile=combined(project))
        assert outputs == {path for path in TARGETS if f"/{name}/" in path}
        path.write_text(path.read_text().removesuffix("\nEDITED = True\n"))
    assert project.planned(*TARGETS, configfile=combined(project)) == {}
