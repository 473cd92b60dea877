"""The schema of responses, and the seed of each draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rlhf.base.artifacts import TOKEN_IDS, Artifact, table_schema

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.responses.engine import Completion, Request


RESPONSES = Artifact(
    "responses",
    table_schema(
        {
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "response": pa.string(),
            "response_token_ids": TOKEN_IDS,
            "finish_reason": pa.string(),
            "seed": pa.int64(),
        }
    ),
    key=("prompt_id", "draw"),
)


def draw_seed(seed: int, policy: str, prompt_id: str, draw: int) -> int:
    """Seed of one draw, in [0, 2^63): a hash, so that it depends on neither batches, parts nor machines."""
    text = f"{seed}\0{policy}\0{prompt_id}\0{draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def response_rows(
    requests: Sequence[Request], completions: Sequence[Sequence[Completion]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    """Rows of `RESPONSES`, in the order of requests and draws. The text omits special tokens."""
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
