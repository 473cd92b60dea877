"""A part of responses and the spec that scores it, as the rule gives them to `score_responses`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from rlhf.responses.schema import RESPONSES
from small_models import write_prompts

ANSWERS = ["the lazy dog", "jumps", "over and over", "", "the quick brown fox " * 20]


class Part(NamedTuple):
    """The files of a part, and its conversations."""

    prompts: Path
    responses: Path
    texts: list[tuple[str, str]]


def write_part(folder: Path) -> Part:
    """Six prompts, and five responses to each of prompts 1 to 4."""
    rows = write_prompts(folder / "prompts.parquet", 6)
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
    RESPONSES.write(folder / "responses.parquet", responses, {})
    texts = [(row["prompt"], ANSWERS[draw]) for row, draw in keys]
    return Part(folder / "prompts.parquet", folder / "responses.parquet", texts)


def spec(scorer: dict[str, Any], start: int = 1) -> str:
    return json.dumps({"rows": {"start": start, "stop": 5}, "scorer": scorer, "model": None})
