"""Pairs of real prompts and responses as tokens, made once for both ways, in a process of its own.

A tokenizer of 128,000 tokens takes 300 MB, which is no part of the work whose memory is measured.

Arguments: the options as JSON, the file to write.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers import AutoTokenizer

from padded_layout import PROMPT_LENGTH, RESPONSE_LENGTH
from rlhf.tokens.chat import encode_prompt, encode_response


def real_pairs(options: dict[str, Any]) -> list[list[list[int]]]:
    """Prompts drawn by a fixed seed with two of their responses, three lists each, where they fit the padded layout."""
    tokenizer = AutoTokenizer.from_pretrained(options["tokenizer"])
    rows = pq.read_table(options["texts"], columns=["prompt", "response_0", "response_1"]).to_pylist()
    random.Random(0).shuffle(rows)
    pairs: list[list[list[int]]] = []
    for row in rows:
        found = [
            encode_prompt(tokenizer, row["prompt"]),
            *(encode_response(tokenizer, row[f"response_{draw}"]) for draw in (0, 1)),
        ]
        if len(found[0]) <= PROMPT_LENGTH and max(map(len, found[1:])) <= RESPONSE_LENGTH:
            pairs.append([[token % options["vocabulary"] for token in part] for part in found])
        if len(pairs) == options["pairs"]:
            break
    return pairs


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(real_pairs(json.loads(sys.argv[1]))))
