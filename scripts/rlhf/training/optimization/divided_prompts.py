"""Prompts whose responses do not fit a pack together: their losses first, then the gradient piece by piece.

A loss L depends on the weights only through the log-probabilities l_i of the responses, so its gradient is the sum over
the responses of dL/dl_i times the gradient of l_i. The slopes dL/dl_i need the values of all l_i but no gradient, and
with them each response can be computed apart. This costs one more forward pass, of these prompts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from accelerate import Accelerator

from rlhf.logprobs.groups import group_columns
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.paired_prompts import PairedPrompt
from rlhf.tokens.packing import pieces_of
from rlhf.tokens.prompt_group import PromptGroup
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.data import pair_batch, pair_places, pair_weights, pairs_of
from rlhf.training.settings import TrainSpec


@dataclass(frozen=True)
class Piece:
    """A prompt with some of its responses, and the slope of the summed losses in the log-probability of each."""

    prompt_group: PromptGroup
    slopes: list[float]


def divided(prompt: PairedPrompt, token_budget: int) -> bool:
    """Whether a prompt with its responses is too large for a pack."""
    return len(pieces_of(prompt.prompt_group, token_budget)) > 1


def divide(
    model: ResponseLogprobs,
    prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    accelerator: Accelerator,
    tokens: int,
    budget: TokenBudget,
) -> tuple[list[Piece], torch.Tensor]:
    """The pieces of the prompts, the same in every process, and their sums as `summed_losses` returns them.

    Args:
        tokens: of a piece, at most.
        budget: of the forward pass; it is reduced when memory runs out.
    """
    groups = [prompt.prompt_group for prompt in prompts]
    place = {"process": accelerator.process_index, "processes": accelerator.num_processes}
    found = group_columns(model, groups, spec.precision, budget, **place, expected=spec.pair_loss.wpo)
    values = torch.tensor(list(chain.from_iterable(found)), device=accelerator.device)
    values = accelerator.reduce(values if spec.pair_loss.wpo else values[:, 0], "sum").requires_grad_()
    total, sums = summed_losses(prompts, values, spec)
    (slopes_of_values,) = torch.autograd.grad(total, values)
    slopes = iter(slopes_of_values.reshape(len(values), -1)[:, 0].tolist())
    pieces = chain.from_iterable(pieces_of(group, tokens) for group in groups)
    return [Piece(piece, [next(slopes) for _ in piece.responses]) for piece in pieces], sums


def summed_losses(
    prompts: Sequence[PairedPrompt], logprobs: torch.Tensor, spec: TrainSpec
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses of all pairs, each times its weight (see `pair_weights`).

    Args:
        logprobs: of the distinct responses of all prompts, float32 (responses,), or (responses, 2) with what `wpo`
            needs beside them.

    Returns:
        The sum, float32 (); and without gradient the sums of optimised loss, reward gap, and log-ratios of chosen and
        rejected, likewise weighted, float32 (4,).
    """
    places = torch.tensor(pair_places(prompts), device=logprobs.device)
    weights = torch.tensor(pair_weights(prompts, spec), device=logprobs.device)
    batch = pair_batch(pairs_of(prompts), *logprobs[places].unbind(1))
    losses = spec.pair_loss.objective(batch)
    gap = batch.chosen_reward - batch.rejected_reward
    sums = torch.stack([losses, gap, batch.chosen_logratio, batch.rejected_logratio]).detach() * weights
    return (losses * spec.pair_loss.pair_weight(batch) * weights).sum(), sums.sum(1)
