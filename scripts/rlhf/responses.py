"""Sampled responses: settings, schema, and the seed of each draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import TOKEN_IDS, Artifact
from rlhf.models import ModelSource, Precision
from rlhf.parts import Rows
from rlhf.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.engines import Completion, Request


class ImportedSettings(Settings):
    """Responses that you bring: one row per prompt, the columns `response_0`, `response_1`, ...

    Rows are matched to the prompts by their normalised text; rows of other prompts are passed over. They have no seed:
    it is 0.
    """

    dataset: str = Field(min_length=1)
    """Local Parquet or JSON lines file with the columns `prompt`, `response_0`, `response_1`, ..."""


class ResponseSettings(Settings):
    """How a policy answers."""

    engine: Literal["vllm", "transformers"] = "vllm"
    """What samples: `vllm`, or `transformers`, which needs no other environment and runs well on a CPU."""
    draws: int = Field(5, ge=2)
    """Responses per prompt."""
    temperature: float = Field(0.8, gt=0)
    """Logits are divided by it, here and in the log-probabilities."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus: the smallest set of most likely tokens whose probability reaches it."""
    max_tokens: int = Field(2048, ge=1)
    """Longest response in tokens, end-of-turn token included; what is cut here never becomes part of a pair."""
    precision: Precision = "bfloat16"
    """Type of the weights while sampling."""
    imported: ImportedSettings | None = None
    """Bring your own responses for the train parts of `base`; all others are sampled."""


class GenerateSpec(Settings):
    """What `generate_responses` reads."""

    seed: int
    """The experiment's seed."""
    policy: str
    """The policy's name: part of the seed of each draw."""
    model: ModelSource | None
    """The policy; null where --policy gives its folder."""
    rows: Rows
    """The part: rows of the prompts."""
    engine: Literal["vllm", "transformers"]
    """What samples."""
    draws: int
    """Responses per prompt."""
    temperature: float
    """Logits are divided by it."""
    top_p: float
    """Nucleus."""
    max_tokens: int
    """Longest response in tokens."""
    precision: Precision
    """Type of the weights."""


class ImportSpec(Settings):
    """What `import_responses` reads."""

    dataset: str
    """Local file with one row per prompt."""
    dataset_fingerprint: str
    """Digest of the file."""
    model: ModelSource | None
    """The policy whose tokenizer counts; null where --policy gives its folder."""
    rows: Rows
    """The part: rows of the prompts."""
    draws: int
    """Responses per prompt: `response_0` to `response_<draws-1>`."""
    max_tokens: int
    """Longest response in tokens: a longer one is cut there."""


RESPONSES = Artifact(
    "responses",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("draw", pa.int32(), nullable=False),
            pa.field("response", pa.string(), nullable=False),
            pa.field("response_token_ids", TOKEN_IDS, nullable=False),
            pa.field("finish_reason", pa.string(), nullable=False),
            pa.field("seed", pa.int64(), nullable=False),
        ]
    ),
    key=("prompt_id", "draw"),
)


def draw_seed(seed: int, policy: str, prompt_id: str, draw: int) -> int:
    """The seed of one draw, 0 to 2^63 - 1: a hash, so that neighbours, parts and machines do not matter."""
    text = f"{seed}\0{policy}\0{prompt_id}\0{draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def response_rows(
    requests: Sequence[Request], completions: Sequence[Sequence[Completion]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    """Rows of `RESPONSES`, in the order of the requests and their draws; special tokens are left out of the text."""
    return [
        {
            "prompt_id": request.prompt_id,
            "draw": draw,
            "response": tokenizer.decode(completion.token_ids, skip_special_tokens=True),
            "response_token_ids": completion.token_ids,
            "finish_reason": completion.finish_reason,
            "seed": seed,
        }
        for request, drawn in zip(requests, completions, strict=True)
        for draw, (seed, completion) in enumerate(zip(request.seeds, drawn, strict=True))
    ]
