"""The candidates of each prompt: the responses that may become part of a pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlhf.base.artifacts import ArtifactError
from rlhf.pairs.choice import Candidate

FINISHED, TRUNCATED = "stop", "length"


def candidates_by_prompt(
    prompts: pa.Table, responses: pa.Table, rewards: pa.Table, responses_path: Path, rewards_path: Path
) -> tuple[dict[str, list[Candidate]], dict[str, int]]:
    """Match the responses of a part with its prompts and rewards, in any order of rows.

    Returns:
        The candidates of each prompt: responses that were not truncated and have a reward. And the number of responses
        that were dropped, by reason.

    Raises:
        ArtifactError: prompts, responses and rewards do not match; names file and row.
    """
    candidates: dict[str, list[Candidate]] = {prompt: [] for prompt in prompts["prompt_id"].to_pylist()}
    found = _rewards_by_draw(responses, rewards, responses_path, rewards_path)
    dropped: Counter[str] = Counter()
    for row, prompt, draw, finish_reason in _rows(responses, "prompt_id", "draw", "finish_reason"):
        if prompt not in candidates:
            raise ArtifactError(
                f"{responses_path}: row {row}: prompt_id {prompt!r} is not among the part's {len(candidates)} prompts"
            )
        reward, invalid = found[prompt, draw]
        if finish_reason not in (FINISHED, TRUNCATED):
            raise ArtifactError(
                f"{responses_path}: row {row}: finish_reason is {finish_reason!r}, not {FINISHED!r} or {TRUNCATED!r}"
            )
        if finish_reason == TRUNCATED:
            dropped["truncated"] += 1
        elif reward is None:
            dropped[invalid] += 1
        else:
            candidates[prompt].append(Candidate(draw, reward, row))
    return candidates, dict(sorted(dropped.items()))


def _rewards_by_draw(
    responses: pa.Table, rewards: pa.Table, responses_path: Path, rewards_path: Path
) -> dict[tuple[str, int], tuple[float | None, str]]:
    """The reward of each response, and why it has none, by prompt and draw.

    Raises:
        ArtifactError: a response has no row of rewards, a reward has no response, or a null reward has no reason.
    """
    rows = {(prompt, draw): row for row, prompt, draw in _rows(responses, "prompt_id", "draw")}
    found: dict[tuple[str, int], tuple[float | None, str]] = {}
    for row, prompt, draw, reward, invalid in _rows(rewards, "prompt_id", "draw", "reward", "invalid"):
        if (prompt, draw) not in rows:
            raise ArtifactError(
                f"{rewards_path}: row {row}: there is no response with prompt_id {prompt!r} and draw {draw} "
                f"in {responses_path}"
            )
        if reward is None and not invalid:
            raise ArtifactError(f"{rewards_path}: row {row}: reward is null, but `invalid` does not say why")
        found[prompt, draw] = reward, invalid
    for key, row in rows.items():
        if key not in found:
            raise ArtifactError(
                f"{responses_path}: row {row}: {rewards_path} has no reward for prompt_id {key[0]!r} and draw {key[1]}"
            )
    return found


def _rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Row numbers, with the values of some columns."""
    columns = [table[name].to_pylist() for name in names]
    return zip(range(len(table)), *columns, strict=True)
