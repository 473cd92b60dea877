"""Log-probabilities of prompts' responses, in packs, without gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from rlhf.base.settings import Precision
from rlhf.logprobs.responses import ResponseLogprobs, autocast
from rlhf.machine.progress import Progress
from rlhf.tokens.packing import Pack, balanced_packs, pack_budget, pieces_of, smallest_packs
from rlhf.tokens.prompt_group import PromptGroup
from rlhf.tokens.token_budget import TokenBudget, as_budget


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

    Groups that do not fit a pack are divided (see `pieces_of`), and their prompt is computed with each piece.

    Args:
        token_budget: tokens per forward pass; reduced when memory runs out.
        progress: counts groups.
        process, processes: rank and number of processes. Responses that other processes compute are 0 in the result.
    """
    found = group_columns(model, groups, precision, token_budget, progress, process=process, processes=processes)
    return [[value for (value,) in of_group] for of_group in found]


@torch.no_grad()  # not inference_mode: ZeRO-3 would keep inference tensors for later steps
def group_columns(
    model: ResponseLogprobs,
    groups: Sequence[PromptGroup],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
    expected: bool = False,
) -> list[list[list[float]]]:
    """As `group_logprobs`, with a list for each response: its log-probability, and with `expected` what the head
    returns beside it (see `TokenLogprobs`)."""
    columns = 2 if expected else 1
    found = [[[0.0] * columns for _ in group.responses] for group in groups]
    if not groups:
        return found
    device = next(model.parameters()).device
    left = dict.fromkeys(range(len(groups)))

    def compute_left(tokens: int) -> None:
        pieces = [(index, *piece) for index in left for piece in _with_places(pieces_of(groups[index], tokens))]
        undone = Counter(index for index, _, _ in pieces)
        packs = balanced_packs([piece.tokens for _, _, piece in pieces], pack_budget(tokens, device), processes)
        for places in packs[process::processes]:
            members = [pieces[place] for place in places]
            # All processes must make the same number of forward passes, so a process without groups computes one too.
            pack = Pack([piece for _, _, piece in members or pieces[:1]], device)
            with autocast(precision, device):
                values = iter(model(pack, expected).reshape(-1, columns).tolist())
            for index, place, _ in members:
                found[index][place] = [next(values) for _ in range(place.start, place.stop)]
                undone[index] -= 1
            done = {index for index, _, _ in members if not undone[index]}
            for index in done:
                del left[index]
            if progress is not None:
                progress.advance(len(done), tokens=pack.input_ids.numel())

    def sizes() -> list[int]:
        return [tokens for index in left for tokens in smallest_packs(groups[index])]

    as_budget(token_budget).repeat(compute_left, sizes)
    return found


def _with_places(pieces: Sequence[PromptGroup]) -> Iterator[tuple[slice, PromptGroup]]:
    """Each piece of a group, and where its responses are among those of the group."""
    start = 0
    for piece in pieces:
        yield slice(start, start + len(piece.responses)), piece
        start += len(piece.responses)
