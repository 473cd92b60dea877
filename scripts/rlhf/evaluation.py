"""Evaluation of a policy against `base` by the training reward and an independent judge: settings, schema, reading."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import Artifact, ArtifactError
from rlhf.responses import RESPONSES
from rlhf.rewards import REWARDS, ScorerSettings
from rlhf.settings import Settings


class EvaluationSettings(Settings):
    """Who judges, beside the training reward, and how intervals are made."""

    judge: ScorerSettings | None = None
    """An independent judge of the test responses: policies should not be judged by their training reward alone."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples of the prompts behind each interval."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Level of the intervals."""


class EvaluateSpec(Settings):
    """What `evaluate_policy` reads."""

    seed: int
    """Seed of the resampling."""
    policy: str
    """The policy's name."""
    bootstrap_samples: int
    """Resamples of the prompts."""
    confidence: float
    """Level of the intervals."""


EVALUATION = Artifact(
    "evaluation",
    pa.schema(
        [
            pa.field("policy", pa.string(), nullable=False),
            pa.field("judge", pa.string(), nullable=False),
            pa.field("mean_reward", pa.float32(), nullable=False),
            pa.field("win_rate", pa.float32(), nullable=False),
            pa.field("win_rate_low", pa.float32(), nullable=False),
            pa.field("win_rate_high", pa.float32(), nullable=False),
            pa.field("length_controlled_win_rate", pa.float32()),
            pa.field("mean_tokens", pa.float32(), nullable=False),
            pa.field("truncated", pa.float32(), nullable=False),
        ]
    ),
    key=("policy", "judge"),
)


@dataclass(frozen=True)
class ScoredResponse:
    """One draw with its score."""

    draw: int
    response: str
    tokens: int
    """Length in tokens, end-of-turn token included."""
    finish_reason: str
    """`stop` or `length`."""
    score: float | None
    """The reward or judgement; None where there is none."""
    invalid: str | None
    """Why there is none."""


def read_scored_responses(responses: Sequence[Path], scores: Sequence[Path]) -> dict[str, list[ScoredResponse]]:
    """The draws of each prompt with their scores (rewards or judgements), ordered by prompt_id and draw.

    Raises:
        ArtifactError: a file is not what it should be, a draw occurs twice, or a draw lacks its score or its response.
    """
    scored = _read_keyed(REWARDS, scores, ["reward", "invalid"])
    answered = _read_keyed(RESPONSES, responses, ["response", "response_token_ids", "finish_reason"])
    for missing, where, what in (
        (scored.keys() - answered.keys(), responses, "response"),
        (answered.keys() - scored.keys(), scores, "score"),
    ):
        if missing:
            raise ArtifactError(
                f"{_named(where)}: no {what} of prompt_id={min(missing)[0]!r}, draw={min(missing)[1]} (and of "
                f"{len(missing) - 1} others). Give the responses and the scores of the same parts."
            )
    found: dict[str, list[ScoredResponse]] = {}
    for (prompt_id, draw), row in sorted(answered.items()):
        score = scored[prompt_id, draw]
        found.setdefault(prompt_id, []).append(
            ScoredResponse(
                draw,
                row["response"],
                len(row["response_token_ids"]),
                row["finish_reason"],
                score["reward"],
                score["invalid"],
            )
        )
    return found


def _read_keyed(artifact: Artifact, paths: Sequence[Path], columns: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for path in paths:
        for row in artifact.read(path, ["prompt_id", "draw", *columns]).to_pylist():
            key = (row["prompt_id"], row["draw"])
            if key in rows:
                raise ArtifactError(f"{path}: prompt_id={key[0]!r}, draw={key[1]} is in another file too")
            rows[key] = row
    return rows


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
