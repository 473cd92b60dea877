"""Scoring by a reward model of ArmoRM's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from rlhf.armo import ArmoRewardModel
from rlhf.chat import encode_conversation
from rlhf.function_scoring import Score
from rlhf.progress import Progress
from rlhf.sequence_batches import batches_by_length, pad_right

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@torch.inference_mode()
def score_by_armo(
    model: ArmoRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[tuple[str, str]],
    max_tokens: int,
    token_budget: int,
    progress: Progress,
) -> list[Score]:
    """Score (prompt, response) texts in batches by length.

    Args:
        max_tokens: a longer conversation is not cut, it has no reward (`too_long`).
        token_budget: tokens in one forward pass, padding included.
        progress: counts responses.
    """
    encoded = [encode_conversation(tokenizer, prompt, response) for prompt, response in conversations]
    scores = [Score(None, "too_long") for _ in encoded]
    fitting = [index for index, (ids, _) in enumerate(encoded) if len(ids) <= max_tokens]
    device = next(model.parameters()).device
    for batch in batches_by_length([len(encoded[index][0]) for index in fitting], token_budget):
        rows = [fitting[position] for position in batch]
        ids = [encoded[row][0] for row in rows]
        output = model(
            pad_right(ids, device),
            torch.tensor([encoded[row][1] for row in rows], device=device),
            torch.tensor([len(sequence) for sequence in ids], device=device),
        )
        for row, reward, objectives in zip(rows, output.score.tolist(), output.objectives.tolist(), strict=True):
            scores[row] = Score(reward, None, objectives)
        progress.advance(len(rows))
    progress.advance(len(encoded) - len(fitting))
    return scores
