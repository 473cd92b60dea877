"""The examples of the report: prompts with the first response of every policy."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import Artifact, ArtifactError
from rlhf.base.names import Rows
from rlhf.prompts.schema import Prompt, prompt_artifact, read_prompts
from rlhf.responses.schema import response_artifact
from rlhf.rewards.schema import REWARDS

ANSWERS = ("responses", "rewards", "judgements")
"""The kinds of files that an answer is read from."""
Files = Mapping[str, Sequence[Path]]
"""By kind."""


@dataclass(frozen=True)
class Answer:
    """A response with its reward."""

    response: str
    tokens: int
    """Length in tokens, end-of-turn token included; hidden thoughts do not count."""
    hidden_tokens: int
    """Length of the thoughts that are hidden."""
    finish_reason: str
    """`stop` or `length`."""
    score: float | None
    """The reward; None where there is none."""
    invalid: str | None
    """Why there is none."""


@dataclass(frozen=True)
class Example:
    """One prompt with the first draw of each policy."""

    prompt: Prompt
    answers: dict[str, tuple[Answer, float | None]]
    """By policy: the response with its reward, and its judgement."""


def choose_examples(count: int, prompts: Path, policies: Mapping[str, tuple[pa.Array, Files]]) -> list[Example]:
    """Choose prompts that every policy answers, in hash order: not cherry-picked, and stable between runs.

    Args:
        policies: by name, the prompts that a policy answers and the files with its answers. Of these, only what holds
            an example is read.

    Raises:
        ArtifactError: a prompt that they answer is none of `prompts`.
    """
    if not count:
        return []
    shared = reduce(_in_both, [ids for ids, _ in policies.values()])
    known = prompt_artifact(prompts).read(prompts, ["prompt_id"])["prompt_id"].combine_chunks()
    unknown = shared.filter(pc.invert(pc.is_in(shared, value_set=known)))
    if len(unknown):
        raise ArtifactError(f"{prompts}: no prompt_id={pc.min(unknown).as_py()!r}, which the responses answer")
    chosen = heapq.nsmallest(count, shared.to_pylist(), key=lambda one: hashlib.sha256(one.encode()).hexdigest())
    rows = pc.index_in(pa.array(chosen, pa.string()), value_set=known).to_pylist()
    asked = [read_prompts(prompts, Rows(start=row, stop=row + 1))[0] for row in rows]
    answers = {name: _answers(chosen, files) for name, (_, files) in policies.items()}
    return [Example(prompt, {name: found[prompt.prompt_id] for name, found in answers.items()}) for prompt in asked]


def _in_both(ids: pa.Array, others: pa.Array) -> pa.Array:
    return ids.filter(pc.is_in(ids, value_set=others))


def _answers(prompt_ids: Sequence[str], files: Files) -> dict[str, tuple[Answer, float | None]]:
    """The first draw of each prompt with its reward and judgement."""
    responses = _first_draws(response_artifact, files["responses"], prompt_ids)
    rewards, judgements = (
        _first_draws(lambda _: REWARDS, files[kind], prompt_ids) for kind in ("rewards", "judgements")
    )
    return {
        prompt_id: (
            Answer(
                row["response"],
                tokens := row.get("visible_tokens", len(row["response_token_ids"])),
                len(row["response_token_ids"]) - tokens,
                row["finish_reason"],
                rewards[prompt_id]["reward"],
                rewards[prompt_id]["invalid"],
            ),
            judgements[prompt_id]["reward"] if judgements else None,
        )
        for prompt_id, row in responses.items()
    }


def _first_draws(
    artifact_of: Callable[[Path], Artifact], paths: Sequence[Path], prompt_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The row with the lowest draw of each prompt."""
    places: dict[str, tuple[int, Path, int]] = {}
    for path in paths:
        keys = artifact_of(path).read(path, artifact_of(path).key)
        rows = pc.indices_nonzero(pc.is_in(keys["prompt_id"], value_set=pa.array(prompt_ids, pa.string())))
        for row, key in zip(rows.to_pylist(), keys.take(rows).to_pylist(), strict=True):
            place = (key["draw"], path, row)
            places[key["prompt_id"]] = min(place, places.get(key["prompt_id"], place))
    return {prompt_id: _row(artifact_of(path), path, row) for prompt_id, (_, path, row) in places.items()}


def _row(artifact: Artifact, path: Path, row: int) -> dict[str, Any]:
    return artifact.read(path, rows=range(row, row + 1)).to_pylist()[0]
