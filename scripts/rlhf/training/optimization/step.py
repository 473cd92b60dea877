"""One optimizer step: micro-batches forward and backward, gradient clipping, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack, pack_budget
from rlhf.tokens.token_budget import TokenBudget, as_budget
from rlhf.training.data import micro_batches, pair_batch
from rlhf.training.processes.accelerator import accumulate
from rlhf.training.settings import TrainSpec
from rlhf.training.validation import Validation, validate

SUMS = 4
"""How many numbers `backward` sums over the pairs of a batch."""
Metrics = dict[str, Any]
"""Columns of a row of `TRAINING`."""


@dataclass(frozen=True)
class Trainer:
    """Model and optimizer, as the accelerator prepared them, and what every step needs beside them."""

    model: ResponseLogprobs
    optimizer: AcceleratedOptimizer
    spec: TrainSpec
    accelerator: Accelerator
    budget: TokenBudget

    def step(self, batch: Sequence[Pair], number: int, learning_rate: float) -> Metrics:
        """Train on a batch.

        Returns:
            What `mean_metrics` returns, the `learning_rate`, and `grad_norm`, the norm before clipping.

        Raises:
            UserError: the loss or the gradient is not finite. The weights are unchanged (except under DeepSpeed, which
                has already updated them).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        sums = backward_batch(self.model, batch, self.spec, self.accelerator, self.budget)
        grad_norm = clip_gradient(self.model, self.spec.recipe.max_grad_norm, self.accelerator)
        found = {**mean_metrics(sums, len(batch), self.spec), "learning_rate": learning_rate, "grad_norm": grad_norm}
        refuse_not_finite(number, found, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return found

    def validate(self, pairs: Sequence[Pair]) -> Validation:
        """Compute the validation pairs under the current weights."""
        return validate(self.model, pairs, self.spec, self.budget, self.accelerator)


def backward_batch(
    model: ResponseLogprobs,
    batch: Sequence[Pair],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: TokenBudget | int,
) -> torch.Tensor:
    """Accumulate the gradient of a batch's mean loss; each process computes its share of the micro-batches.

    The gradient must be zero before. If memory runs out, the whole batch is repeated in smaller micro-batches.

    Returns:
        The sums of `backward` over the whole batch, the same in every process.
    """

    def compute(tokens: int) -> torch.Tensor:
        budget = pack_budget(tokens, accelerator.device)
        shares = micro_batches(batch, budget, accelerator.process_index, accelerator.num_processes)
        sums = torch.zeros(SUMS, device=accelerator.device)
        for number, pairs in enumerate(shares):
            with accumulate(accelerator, model, last=number + 1 == len(shares)):
                # An empty micro-batch is computed too, with weight 0: every process must make as many passes.
                weight = accelerator.num_processes / len(batch) if pairs else 0.0
                found = backward(model, pairs or batch[:1], weight, spec, accelerator)
            sums += found if pairs else 0.0
        return sums

    sums = as_budget(token_budget).repeat(compute, lambda: list(map(count_tokens, batch)), undo=model.zero_grad)
    return accelerator.reduce(sums, "sum")


def backward(
    model: ResponseLogprobs, pairs: Sequence[Pair], weight: float, spec: TrainSpec, accelerator: Accelerator
) -> torch.Tensor:
    """Add the gradient of `weight` times the summed loss of one micro-batch.

    Returns:
        Sums over the pairs, float32 (SUMS,): optimised loss, reward gap, log-ratios of chosen and rejected.
    """
    with accelerator.autocast():
        logprobs = model(Pack([pair.prompt_group for pair in pairs], accelerator.device))
    batch = pair_batch(pairs, *logprobs.view(-1, 2).unbind(1))
    losses = spec.loss.loss(batch)
    accelerator.backward(losses.sum() * weight)
    gap = batch.chosen_reward - batch.rejected_reward
    return torch.stack([losses, gap, batch.chosen_logratio, batch.rejected_logratio]).detach().sum(1)


def clip_gradient(model: ResponseLogprobs, max_norm: float | None, accelerator: Accelerator) -> float:
    """Clip the gradient to `max_norm`, unless it is None; returns the norm before clipping."""
    norm = accelerator.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm)
    full_tensor = getattr(norm, "full_tensor", None)  # under FSDP2 it is sharded
    return float(norm if full_tensor is None else full_tensor())


def mean_metrics(sums: torch.Tensor, pairs: int, spec: TrainSpec) -> Metrics:
    """Means over the pairs of a batch; the loss in its published scaling. Pairs without rewards have no gap."""
    loss, gap, chosen, rejected = (sums / pairs).tolist()
    return {
        "loss": loss * spec.loss.reported_scale,
        "reward_gap": None if math.isnan(gap) else gap,
        "chosen_logratio": chosen if spec.loss.needs_reference else None,
        "rejected_logratio": rejected if spec.loss.needs_reference else None,
    }


def refuse_not_finite(step: int, found: Metrics, batch: Sequence[Pair]) -> None:
    """Raise UserError if a step's loss or gradient is not finite."""
    loss, grad_norm = found["loss"], found["grad_norm"]
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    names = ", ".join(pair.prompt_id for pair in batch)
    raise UserError(
        f"step {step}: the loss is {loss} and the norm of its gradient {grad_norm}. Lower the learning rate or clip "
        f"the gradient (`max_grad_norm`), or look at the pairs of this batch: {names}"
    )


def count_tokens(pair: Pair) -> int:
    """Tokens of a pair, its prompt once."""
    return pair.prompt_group.tokens


def count_response_tokens(pair: Pair) -> int:
    return len(pair.chosen_token_ids) + len(pair.rejected_token_ids)
