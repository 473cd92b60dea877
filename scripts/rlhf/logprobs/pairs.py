"""Log-probabilities of pairs, in packs, without gradients."""

from collections.abc import Sequence
from typing import Any

import torch

from rlhf.base.settings import Precision
from rlhf.logprobs.responses import ResponseLogprobs, autocast
from rlhf.machine.progress import Progress
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack, balanced_packs, pack_budget
from rlhf.tokens.token_budget import TokenBudget, as_budget


@torch.no_grad()  # not inference_mode: ZeRO-3 would keep inference tensors for later steps
def pair_logprobs(
    model: ResponseLogprobs,
    pairs: Sequence[Pair],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
) -> tuple[list[float], list[float]]:
    """Log-probabilities of the chosen and of the rejected responses, in the order of the pairs.

    Args:
        token_budget: tokens per forward pass; reduced when memory runs out.
        progress: counts pairs.
        process, processes: rank and number of processes. Pairs that other processes compute are 0 in the result.
    """
    chosen, rejected = [0.0] * len(pairs), [0.0] * len(pairs)
    if not pairs:
        return chosen, rejected
    device = next(model.parameters()).device
    sizes = [pair.prompt_group.tokens for pair in pairs]
    left = dict.fromkeys(range(len(pairs)))

    def compute_left(tokens: int) -> None:
        indices = list(left)
        packs = balanced_packs([sizes[index] for index in indices], pack_budget(tokens, device), processes)
        for places in packs[process::processes]:
            members = [indices[place] for place in places]
            # All processes must make the same number of forward passes, so a process without pairs computes one too.
            pack = Pack([pairs[index].prompt_group for index in members or [0]], device)
            with autocast(precision, device):
                values = model(pack).tolist()
            for position, index in enumerate(members):
                chosen[index], rejected[index] = values[2 * position : 2 * position + 2]
                del left[index]
            if progress is not None:
                progress.advance(len(members), tokens=pack.input_ids.numel())

    as_budget(token_budget).repeat(compute_left, lambda: [sizes[index] for index in left])
    return chosen, rejected


def logprob_rows(pairs: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of `LOGPROBS`, from what `pair_logprobs` returns."""
    return [
        {
            "prompt_id": pair.prompt_id,
            "chosen_logprob": chosen_logprob,
            "rejected_logprob": rejected_logprob,
            "chosen_tokens": len(pair.chosen_token_ids),
            "rejected_tokens": len(pair.rejected_token_ids),
        }
        for pair, chosen_logprob, rejected_logprob in zip(pairs, chosen, rejected, strict=True)
    ]
