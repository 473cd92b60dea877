"""Log-probabilities of whole pairs, without gradients, in packs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlhf.models import Precision
from rlhf.packing import Pack, PromptGroup, pack_budget, pack_whole_groups
from rlhf.progress import Progress
from rlhf.sequence_logprobs import ResponseLogprobs, autocast


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
        token_budget: tokens in one forward pass.
        progress: counts pairs.
    """
    device = next(model.parameters()).device
    groups = [prompt_group(pair) for pair in pairs]
    chosen, rejected = [0.0] * len(pairs), [0.0] * len(pairs)
    for members in pack_whole_groups(groups, pack_budget(token_budget, device)):
        pack = Pack([groups[index] for index in members], device)
        with autocast(precision, device):
            values = model(pack).tolist()
        for index, of_chosen, of_rejected in zip(members, values[0::2], values[1::2], strict=True):
            chosen[index], rejected[index] = of_chosen, of_rejected
        if progress is not None:
            progress.advance(len(members), tokens=pack.input_ids.numel())
    return chosen, rejected


def prompt_group(pair: Mapping[str, Any]) -> PromptGroup:
    """The prompt of a row of `PAIRS` with its chosen and its rejected response."""
    return PromptGroup(pair["prompt_token_ids"], [pair["chosen_token_ids"], pair["rejected_token_ids"]])
