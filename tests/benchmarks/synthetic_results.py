"""Artifacts of an experiment of any size with UltraFeedback's lengths, to measure memory and time on.

Prompts of 170 tokens, responses of 410, with texts of four characters per token. The contents are random.

Arguments: the folder to write to, the number of prompts.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.base.artifacts import Artifact
from rlhf.base.names import part_names
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS

PROMPT_TOKENS, RESPONSE_TOKENS, CHARACTERS = 170, 410, 4
DRAWS, PART_SIZE = 5, 7000
VOCABULARY = 128_256
LETTERS = np.frombuffer(b"etaoin shrdlu etaoin ", dtype=np.uint8)
POLICIES = ("base", "rebel-1")


def write_results(folder: Path, prompts: int) -> None:
    """Write `prompts.parquet`, `dataset.parquet` and, per policy and 7,000 prompts, a part of every other artifact."""
    generator = np.random.default_rng(0)
    ids = prompt_ids(prompts)
    write_prompts(folder, ids, generator)
    for part, name in enumerate(part_names("test", prompts, PART_SIZE)):
        rows = ids[max(0, prompts - (part + 1) * PART_SIZE) : prompts - part * PART_SIZE]
        responses = response_rows(rows, generator)
        for policy in POLICIES:
            write_policy(folder / policy, name, rows, responses, generator)


def prompt_ids(prompts: int) -> pa.Array:
    return pa.array([hashlib.sha256(str(row).encode()).hexdigest()[:16] for row in range(prompts)])


def write_prompts(folder: Path, ids: pa.Array, generator: np.random.Generator) -> None:
    """The prompts, and a dataset from which they could have been collected."""
    count = len(ids)
    tokens = token_lists(count, PROMPT_TOKENS, generator)
    table = pa.Table.from_arrays([ids, texts(tokens, generator), tokens], schema=PROMPTS.schema)
    PROMPTS.write(folder / "prompts.parquet", table, {"spec": {}})
    pq.write_table(table.select(["prompt"]), folder / "dataset.parquet")


def response_rows(prompts: pa.Array, generator: np.random.Generator) -> pa.Table:
    count = len(prompts) * DRAWS
    tokens = token_lists(count, RESPONSE_TOKENS, generator)
    finished = pa.array(np.where(generator.random(count) < 0.02, "length", "stop"))
    return pa.Table.from_arrays(
        [*keys(prompts), texts(tokens, generator), tokens, finished, pa.array(generator.integers(0, 2**63, count))],
        schema=RESPONSES.schema,
    )


def write_policy(
    folder: Path, part: str, prompts: pa.Array, responses: pa.Table, generator: np.random.Generator
) -> None:
    """All artifacts of a part: half of the responses score better for one policy than for the other."""
    files: dict[str, tuple[Artifact, pa.Table]] = {"responses": (RESPONSES, responses)}
    for kind in ("rewards", "judgements"):
        files[kind] = REWARDS, reward_rows(prompts, generator)
    pairs = pair_rows(prompts, responses)
    files["pairs"], files["logprobs"] = (PAIRS, pairs), (LOGPROBS, logprob_rows(pairs))
    spec = {"temperature": 0.8, "precision": "bfloat16", "model": None}
    for kind, (artifact, table) in files.items():
        counts = {"counts": {"prompts": len(prompts), "pairs": len(prompts)}} if kind == "pairs" else {}
        artifact.write(folder / kind / f"{part}.parquet", table, {"spec": spec, **counts})


def reward_rows(prompts: pa.Array, generator: np.random.Generator) -> pa.Table:
    count = len(prompts) * DRAWS
    missing = generator.random(count) < 0.01
    scores = pa.array(generator.normal(size=count).astype(np.float32), mask=missing)
    why = pa.array(np.full(count, "too_long"), mask=~missing)
    return pa.Table.from_arrays(
        [*keys(prompts), scores, why, pa.nulls(count, REWARDS.schema.field("objectives").type)], schema=REWARDS.schema
    )


def pair_rows(prompts: pa.Array, responses: pa.Table) -> pa.Table:
    """The first response of each prompt against the second."""
    first = np.arange(len(prompts)) * DRAWS
    prompt_tokens = token_lists(len(prompts), PROMPT_TOKENS, np.random.default_rng(1))
    columns = {"prompt_id": prompts, "prompt_token_ids": prompt_tokens}
    for draw, side in enumerate(("chosen", "rejected")):
        taken = responses.take(pa.array(first + draw))
        columns |= {
            f"{side}_token_ids": taken["response_token_ids"],
            f"{side}_draw": taken["draw"],
            f"{side}_reward": pa.array(np.full(len(prompts), 1 - draw, np.float32)),
            f"{side}_win_probability": pa.array(np.full(len(prompts), 0.5, np.float32)),
            side: taken["response"],
        }
    return pa.Table.from_arrays([columns[name] for name in PAIRS.schema.names], schema=PAIRS.schema)


def logprob_rows(pairs: pa.Table) -> pa.Table:
    zeros, tokens = np.zeros(len(pairs), np.float32), np.full(len(pairs), RESPONSE_TOKENS, np.int32)
    return pa.Table.from_arrays([pairs["prompt_id"], zeros, zeros, tokens, tokens], schema=LOGPROBS.schema)


def keys(prompts: pa.Array) -> list[pa.Array]:
    """`prompt_id` and `draw` of every response."""
    rows = np.repeat(np.arange(len(prompts)), DRAWS)
    return [prompts.take(pa.array(rows)), pa.array(np.tile(np.arange(DRAWS, dtype=np.int32), len(prompts)))]


def token_lists(count: int, mean: int, generator: np.random.Generator) -> pa.ListArray:
    """Lists of ids, 0.5 to 1.5 times `mean` long; small ids are frequent, as in text."""
    lengths = generator.integers(mean // 2, mean + mean // 2, count, endpoint=True)
    ids = (VOCABULARY * generator.random(int(lengths.sum()), np.float32) ** 3).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids), type=PROMPTS.schema.field(2).type)


def texts(tokens: pa.ListArray, generator: np.random.Generator) -> pa.Array:
    """A text for each list of tokens, about as long as real text with as many tokens."""
    offsets = tokens.offsets.to_numpy() * CHARACTERS
    letters = LETTERS[generator.integers(0, len(LETTERS), int(offsets[-1]), dtype=np.uint8)]
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(letters)]
    return pa.StringArray.from_buffers(len(tokens), buffers[1], buffers[2])


if __name__ == "__main__":
    write_results(Path(sys.argv[1]), int(sys.argv[2]))
