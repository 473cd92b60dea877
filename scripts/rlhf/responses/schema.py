"""The schema of responses, and the seed of each draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import TOKEN_IDS, Artifact, find_provenance, table_schema

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.responses.engine import Completion, Request
    from rlhf.responses.thoughts import Thoughts


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


VISIBLE_RESPONSES = Artifact(
    RESPONSES.name,
    RESPONSES.schema.append(pa.field("visible_tokens", pa.int32(), nullable=False)),
    RESPONSES.key,
)
"""Responses whose thoughts are hidden (`responses.hide`): `response` is what is visible, `visible_tokens` its length in
tokens, end-of-turn token included; `response_token_ids` are complete, and an unfinished thought was cut (`length`)."""


def response_artifact(path: Path) -> Artifact:
    """The schema of a file of responses: with hidden thoughts, or without."""
    hidden = path.is_file() and (find_provenance(path) or {}).get("spec", {}).get("hide")
    return VISIBLE_RESPONSES if hidden else RESPONSES


def read_responses(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read responses with hidden thoughts or without.

    Raises:
        ArtifactError, DamagedError: as for `Artifact.read`.
    """
    return response_artifact(path).read(path, columns)


def read_lengths(path: Path) -> pa.Table:
    """Read the responses of a file as rows of `prompt_id`, `draw`, `characters`, `tokens` (int32, end-of-turn token
    included) and `finish_reason`. Hidden thoughts do not count.

    Raises:
        ArtifactError, DamagedError: as for `Artifact.read`.
    """
    tokens = "visible_tokens" if response_artifact(path) is VISIBLE_RESPONSES else "response_token_ids"
    table = read_responses(path, [*RESPONSES.key, "response", tokens, "finish_reason"])
    columns = {
        **{name: table[name] for name in RESPONSES.key},
        "characters": pc.utf8_length(table["response"]),
        "tokens": table[tokens] if tokens == "visible_tokens" else pc.list_value_length(table[tokens]),
        "finish_reason": table["finish_reason"],
    }
    return pa.table(columns)


def draw_seed(seed: int, policy: str, prompt_id: str, draw: int) -> int:
    """Seed of one draw, in [0, 2^63): a hash, so that it depends on neither batches, parts nor machines."""
    text = f"{seed}\0{policy}\0{prompt_id}\0{draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def response_rows(
    requests: Sequence[Request],
    completions: Sequence[Sequence[Completion]],
    tokenizer: PreTrainedTokenizerBase,
    thoughts: Thoughts | None = None,
) -> list[dict[str, Any]]:
    """Rows of `RESPONSES`, in the order of requests and draws. The text omits special tokens.

    Args:
        thoughts: keeps the marks around thoughts in the text, if some are hidden.
    """
    decode = thoughts.decode if thoughts else partial(tokenizer.decode, skip_special_tokens=True)
    return [
        {
            "prompt_id": request.prompt_id,
            "draw": draw,
            "response": decode(completion.token_ids),
            "response_token_ids": completion.token_ids,
            "finish_reason": completion.finish_reason,
            "seed": seed,
        }
        for request, drawn in zip(requests, completions, strict=True)
        for draw, (seed, completion) in enumerate(zip(request.seeds, drawn, strict=True))
    ]
