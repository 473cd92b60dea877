"""Scored responses: the rows of many files, in order, against a reading that goes row by row."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arrow_memory import peak_of
from rlhf.base.artifacts import ArtifactError
from rlhf.evaluation.scored_responses import read_scored_responses
from rlhf.responses.schema import RESPONSES, VISIBLE_RESPONSES
from rlhf.rewards.schema import REWARDS

Rows = list[dict[str, Any]]


def rows_of(prompts: list[str], seed: int = 0) -> tuple[Rows, Rows]:
    """Responses and rewards, one to four per prompt, in no order."""
    chance = random.Random(seed)
    responses, rewards = [], []
    for prompt_id in prompts:
        for draw in range(chance.randint(1, 4)):
            key, valid = {"prompt_id": prompt_id, "draw": draw}, chance.random() < 0.8
            answer = {"response": "é🦙x" * chance.randint(0, 5), "response_token_ids": [7] * chance.randint(0, 9)}
            finish = {"finish_reason": chance.choice(["stop", "length"]), "seed": 1}
            responses.append({**key, **answer, **finish})
            score = {"reward": chance.gauss(0, 1) if valid else None, "invalid": None if valid else "too_long"}
            rewards.append({**key, **score, "objectives": None})
    chance.shuffle(responses)
    chance.shuffle(rewards)
    return responses, rewards


def write(folder: Path, parts: list[tuple[Rows, Rows]]) -> tuple[list[Path], list[Path]]:
    paths = [(folder / f"responses-{number}", folder / f"rewards-{number}") for number in range(len(parts))]
    for (responses, rewards), (first, second) in zip(parts, paths, strict=True):
        RESPONSES.write(first, responses, {})
        REWARDS.write(second, rewards, {})
    return [first for first, _ in paths], [second for _, second in paths]


def test_rows_are_those_of_the_files_by_prompt_and_draw(tmp_path: Path) -> None:
    parts = [rows_of([f"{letter}{number}" for number in range(9)], seed) for seed, letter in enumerate("Ça9")]
    responses, rewards = write(tmp_path, parts)
    found = read_scored_responses(responses, {"reward": rewards[::-1]})["reward"]
    scores = {
        (row["prompt_id"], row["draw"]): {
            "reward": None if row["reward"] is None else np.float32(row["reward"]),
            "invalid": row["invalid"],
        }
        for _, part in parts
        for row in part
    }
    answers = sorted((row for part, _ in parts for row in part), key=lambda row: (row["prompt_id"], row["draw"]))
    expected = [
        {
            "draw": row["draw"],
            "characters": len(row["response"]),
            "tokens": len(row["response_token_ids"]),
            "truncated": row["finish_reason"] == "length",
            **scores[row["prompt_id"], row["draw"]],
        }
        for row in answers
    ]
    assert found.draws.to_pylist() == expected
    ids = [row["prompt_id"] for row in answers]
    assert found.prompt_ids.to_pylist() == sorted(set(ids))
    assert found.counts.tolist() == [ids.count(prompt_id) for prompt_id in sorted(set(ids))]
    assert found.valid().to_pylist() == [row["reward"] for row in expected if row["reward"] is not None]


def test_hidden_thoughts_have_no_length(tmp_path: Path) -> None:
    responses, rewards = rows_of(["a", "b", "c"])
    longer = [{**row, "response_token_ids": [7] * 99, "visible_tokens": len(row["response"])} for row in responses]
    VISIBLE_RESPONSES.write(tmp_path / "responses", longer, {"spec": {"hide": {"open": "<", "close": ">"}}})
    REWARDS.write(tmp_path / "rewards", rewards, {})
    found = read_scored_responses([tmp_path / "responses"], {"reward": [tmp_path / "rewards"]})["reward"].draws
    assert sorted(found["tokens"].to_pylist()) == sorted(len(row["response"]) for row in responses)
    assert found["characters"].to_pylist() == found["tokens"].to_pylist()


def test_a_draw_in_two_files_is_named_with_the_second(tmp_path: Path) -> None:
    first, second = rows_of(["a", "b"], 1), rows_of(["c", "b"], 2)
    responses, rewards = write(tmp_path, [first, second])
    with pytest.raises(ArtifactError, match=r"responses-1: prompt_id='b', draw=0 is in another file too"):
        read_scored_responses(responses, {"reward": rewards})


@pytest.mark.parametrize("without", ["responses", "rewards"])
def test_what_is_missing_is_named_and_counted(without: str, tmp_path: Path) -> None:
    (responses, rewards), other = rows_of(["a", "b"], 3), rows_of(["c"], 4)
    left = {"responses": responses, "rewards": rewards}
    left[without] = [row for row in left[without] if (row["prompt_id"], row["draw"]) > ("a", 0)]
    gone = len(rewards) - len(left[without])
    files = write(tmp_path, [(left["responses"], left["rewards"]), other])
    what = {"responses": "response", "rewards": "score"}[without]
    with pytest.raises(ArtifactError, match=rf"no {what} of prompt_id='a', draw=0 \(and of {gone - 1} others\)"):
        read_scored_responses(files[0], {"reward": files[1]})


def test_a_draw_takes_less_than_300_bytes_whatever_its_text(tmp_path: Path) -> None:
    """At the peak, beside the file that is being read; at five million draws that is 1.5 GB."""
    parts, prompts = 12, 400
    text, ids = "word " * 300, list(range(400))
    files = []
    for part in range(parts):
        keys = [{"prompt_id": f"{part:03}{row:013}", "draw": draw} for row in range(prompts) for draw in range(5)]
        answer = {"response": text, "response_token_ids": ids, "finish_reason": "stop", "seed": 1}
        score = {"reward": 1.0, "invalid": None, "objectives": None}
        files.append(([{**key, **answer} for key in keys], [{**key, **score} for key in keys]))
    responses, rewards = write(tmp_path, files)
    of_a_file = peak_of(lambda: RESPONSES.read(responses[0]))
    peak = peak_of(lambda: read_scored_responses(responses, {"reward": rewards, "judge": rewards}))
    assert (peak - of_a_file) / (5 * parts * prompts) < 300
    assert of_a_file / (5 * prompts) > 3000
