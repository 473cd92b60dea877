"""Log-probabilities of whole pairs, without gradients, in batches by length."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlhf.models import Precision
from rlhf.progress import Progress
from rlhf.sequence_batches import batches_by_length
from rlhf.sequence_logprobs import ResponseLogprobs, autocast, pad_pairs


@torch.inference_mode()
def pair_logprobs(
    model: ResponseLogprobs,
    pairs: Sequence[Mapping[str, Any]],
    precision: Precision,
    token_budget: int,
    progress: Progress | None = None,
) -> tuple[list[float], list[float]]:
    """Log-probabilities of the chosen and of the rejected responses, in the order of the pairs.

    Args:
        pairs: rows of `PAIRS`.
        token_budget: tokens in one forward pass, padding included.
        progress: counts responses, two per pair.
    """
    prompts = [pair["prompt_token_ids"] for pair in pairs for _ in range(2)]
    responses = [pair[side] for pair in pairs for side in ("chosen_token_ids", "rejected_token_ids")]
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    device = next(model.parameters()).device
    logprobs = [0.0] * len(responses)
    for batch in batches_by_length(lengths, token_budget):
        ids, mask = pad_pairs([prompts[i] for i in batch], [responses[i] for i in batch], device)
        with autocast(precision, device):
            values = model(ids, mask)
        for index, value in zip(batch, values.tolist(), strict=True):
            logprobs[index] = value
        if progress is not None:
            progress.advance(len(batch))
    return logprobs[0::2], logprobs[1::2]
