"""Log-probabilities of prompts' responses, in packs, without gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlhf.base.settings import Precision
from rlhf.logprobs.responses import ResponseLogprobs, autocast
from rlhf.machine.progress import Progress
from rlhf.tokens.packing import Pack, balanced_packs, pack_budget
from rlhf.tokens.prompt_group import PromptGroup
from rlhf.tokens.token_budget import TokenBudget, as_budget


@torch.no_grad()  # not inference_mode: ZeRO-3 would keep inference tensors for later steps
def group_logprobs(
    model: ResponseLogprobs,
    groups: Sequence[PromptGroup],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
) -> list[list[float]]:
    """Log-probabilities of the responses of each group, in the order of the groups.

    Args:
        token_budget: tokens per forward pass; reduced when memory runs out.
        progress: counts groups.
        process, processes: rank and number of processes. Groups that other processes compute are 0 in the result.
    """
    found = [[0.0] * len(group.responses) for group in groups]
    if not groups:
        return found
    device = next(model.parameters()).device
    sizes = [group.tokens for group in groups]
    left = dict.fromkeys(range(len(groups)))

    def compute_left(tokens: int) -> None:
        indices = list(left)
        packs = balanced_packs([sizes[index] for index in indices], pack_budget(tokens, device), processes)
        for places in packs[process::processes]:
            members = [indices[place] for place in places]
            # All processes must make the same number of forward passes, so a process without groups computes one too.
            pack = Pack([groups[index] for index in members or [0]], device)
            with autocast(precision, device):
                values = iter(model(pack).tolist())
            for index in members:
                found[index] = [next(values) for _ in found[index]]
                del left[index]
            if progress is not None:
                progress.advance(len(members), tokens=pack.input_ids.numel())

    as_budget(token_budget).repeat(compute_left, lambda: [sizes[index] for index in left])
    return found
