"""All of `score_responses` except the model: texts to packs and back. Arguments: the artifacts' folder, the part."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from rlhf.base.names import Rows
from rlhf.machine.progress import Progress
from rlhf.rewards.conversations import read_conversations
from rlhf.rewards.models.packed_scoring import PackScores, score_conversations
from rlhf.tokens.packing import Pack
from small_tokenizers import small_tokenizer


def no_model(pack: Pack) -> PackScores:
    return PackScores(torch.zeros(len(pack.responses)))


def main() -> None:
    data, part = Path(sys.argv[1]), sys.argv[2]
    rows = Rows(start=-7000, stop=0)
    responses = data / f"base/responses/{part}.parquet"
    conversations = read_conversations(data / "prompts.parquet", rows, responses)[1]
    with Progress(len(conversations), "responses", "scoring") as progress:
        score_conversations(no_model, torch.device("cpu"), small_tokenizer(), conversations, 10**6, 16384, progress)


if __name__ == "__main__":
    main()
