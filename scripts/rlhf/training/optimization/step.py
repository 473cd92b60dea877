"""One optimizer step: micro-batches forward and backward, gradient clipping, update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.paired_prompts import PairedPrompt
from rlhf.tokens.packing import Pack, pack_budget, smallest_packs
from rlhf.tokens.token_budget import TokenBudget, as_budget
from rlhf.training.data import AnyGrouped, micro_batches, pair_weights
from rlhf.training.optimization.divided_prompts import Piece, divide, divided, summed_losses
from rlhf.training.processes.accelerator import accumulate
from rlhf.training.settings import TrainSpec
from rlhf.training.units.unit import Measured, Metrics, Row

SUMS = 4
"""How many numbers `summed_losses` sums over the pairs of a batch."""


@dataclass(frozen=True)
class BatchWork(Generic[AnyGrouped]):
    """A batch, and how it is computed in micro-batches."""

    prepare: Callable[[int], tuple[list[AnyGrouped], torch.Tensor]]
    """Takes a token budget, and gives what is packed into micro-batches, the same in every process, and the sums that
    are known already: over all processes, those of the whole batch."""
    micro_batch: Callable[[Sequence[AnyGrouped], float], torch.Tensor]
    """Adds the gradient of a weight times the summed loss of a micro-batch, and gives sums over it."""
    weight: float
    """What the losses of the whole batch count together."""
    smallest: Callable[[], list[int]]
    """Tokens of each smallest possible pack."""


@dataclass(frozen=True)
class Trainer:
    """Model and optimizer, as the accelerator prepared them, and what every step needs beside them."""

    model: ResponseLogprobs
    optimizer: AcceleratedOptimizer
    spec: TrainSpec
    accelerator: Accelerator
    budget: TokenBudget

    def step(self, batch: Sequence[Row], number: int, learning_rate: float) -> Metrics:
        """Train on a batch.

        Returns:
            The metrics of the batch, the `learning_rate`, and `grad_norm`, the norm before clipping.

        Raises:
            UserError: the loss or the gradient is not finite. The weights are unchanged (except under DeepSpeed, which
                has already updated them).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        unit = self.spec.loss.unit()
        metrics = unit.backward(self.model, batch, self.spec, self.accelerator, self.budget)
        grad_norm = clip_gradient(self.model, self.spec.recipe.max_grad_norm, self.accelerator)
        found = {**metrics, "learning_rate": learning_rate, "grad_norm": grad_norm}
        refuse_not_finite(number, found, batch, unit.name)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return found

    def measure(self, rows: Sequence[Row]) -> Measured:
        """Compute rows under the current weights."""
        return self.spec.loss.unit().measure(self.model, rows, self.spec, self.budget, self.accelerator)


def backward_batch(
    model: ResponseLogprobs,
    batch: Sequence[PairedPrompt],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: TokenBudget | int,
) -> torch.Tensor:
    """Accumulate the gradient of the mean loss of a batch of pairs, see `accumulate_gradient`.

    Prompts whose responses do not fit the budget together are computed in pieces (see `divided_prompts`).

    Returns:
        The sums of `summed_losses` over the whole batch, the same in every process.
    """
    budget = as_budget(token_budget)

    def prepare(tokens: int) -> tuple[list[PairedPrompt | Piece], torch.Tensor]:
        whole: list[PairedPrompt | Piece] = [prompt for prompt in batch if not divided(prompt, tokens)]
        sums = torch.zeros(SUMS, device=accelerator.device)
        if len(whole) == len(batch):
            return whole, sums
        too_large = [prompt for prompt in batch if divided(prompt, tokens)]
        pieces, found = divide(model, too_large, spec, accelerator, tokens, budget)
        return [*whole, *pieces], found if accelerator.is_main_process else sums

    def smallest() -> list[int]:
        return [tokens for prompt in batch for tokens in smallest_packs(prompt.prompt_group)]

    backward_of = partial(backward, model, spec=spec, accelerator=accelerator)
    work = BatchWork(prepare, backward_of, sum(pair_weights(batch, spec)), smallest)
    return accumulate_gradient(model, work, accelerator, budget)


def accumulate_gradient(
    model: ResponseLogprobs, work: BatchWork[AnyGrouped], accelerator: Accelerator, budget: TokenBudget
) -> torch.Tensor:
    """Accumulate the gradient of a batch's mean loss; each process computes its share of the micro-batches.

    The gradient must be zero before. If memory runs out, the whole batch is repeated in smaller micro-batches.

    Returns:
        The sums of `work` over the whole batch, the same in every process.
    """

    def compute(tokens: int) -> torch.Tensor:
        rows, sums = work.prepare(tokens)
        if budget.tokens < tokens:  # memory ran out meanwhile
            return compute(budget.tokens)
        in_pack = pack_budget(tokens, accelerator.device)
        shares = micro_batches(rows, in_pack, accelerator.process_index, accelerator.num_processes)
        for number, own in enumerate(shares):
            with accumulate(accelerator, model, last=number + 1 == len(shares)):
                # An empty micro-batch is computed too, with weight 0: every process must make as many passes.
                weight = accelerator.num_processes / work.weight if own else 0.0
                found = work.micro_batch(own or rows[:1], weight)
            sums = sums + found if own else sums
        return sums

    return accelerator.reduce(budget.repeat(compute, work.smallest, undo=model.zero_grad), "sum")


def backward(
    model: ResponseLogprobs,
    units: Sequence[PairedPrompt | Piece],
    weight: float,
    spec: TrainSpec,
    accelerator: Accelerator,
) -> torch.Tensor:
    """Add the gradient of `weight` times the summed losses of one micro-batch.

    Every distinct response is computed once; its gradient is the sum over the pairs that it is in.

    Returns:
        Sums over the pairs of whole prompts, as `summed_losses` returns them, float32 (SUMS,).
    """
    prompts = [unit for unit in units if not isinstance(unit, Piece)]
    pieces = [unit for unit in units if isinstance(unit, Piece)]
    with accelerator.autocast():
        groups = [prompt.prompt_group for prompt in prompts] + [piece.prompt_group for piece in pieces]
        logprobs = model(Pack(groups, accelerator.device), spec.pair_loss.wpo)
    slopes = torch.tensor([slope for piece in pieces for slope in piece.slopes], device=logprobs.device)
    own, of_pieces = logprobs[: len(logprobs) - len(slopes)], logprobs[len(logprobs) - len(slopes) :]
    of_pieces = of_pieces[:, 0] if spec.pair_loss.wpo else of_pieces
    loss, sums = (of_pieces * slopes).sum(), torch.zeros(SUMS, device=logprobs.device)
    if prompts:
        whole, sums = summed_losses(prompts, own, spec)
        loss = loss + whole
    accelerator.backward(loss * weight)
    return sums


def clip_gradient(model: ResponseLogprobs, max_norm: float | None, accelerator: Accelerator) -> float:
    """Clip the gradient to `max_norm`, unless it is None; returns the norm before clipping."""
    norm = accelerator.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm)
    full_tensor = getattr(norm, "full_tensor", None)  # under FSDP2 it is sharded
    return float(norm if full_tensor is None else full_tensor())


def mean_metrics(sums: torch.Tensor, weight: float, spec: TrainSpec) -> Metrics:
    """Weighted means over a batch's pairs; the loss in its published scaling. Pairs without rewards have no gap."""
    loss, gap, chosen, rejected = (sums / weight).tolist()
    return {
        "loss": loss * spec.loss.reported_scale,
        "reward_gap": None if math.isnan(gap) else gap,
        "chosen_logratio": chosen if spec.loss.needs_reference else None,
        "rejected_logratio": rejected if spec.loss.needs_reference else None,
    }


def refuse_not_finite(step: int, found: Metrics, batch: Sequence[Row], unit: str) -> None:
    """Raise UserError if a step's loss or gradient is not finite; `unit` says what the batch is made of."""
    loss, grad_norm = found["loss"], found["grad_norm"]
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    names = ", ".join(row.prompt_id for row in batch)
    raise UserError(
        f"step {step}: the loss is {loss} and the norm of its gradient {grad_norm}. Lower the learning rate or clip "
        f"the gradient (`max_grad_norm`), or look at the {unit} of this batch: {names}"
    )


def count_tokens(row: Row) -> int:
    """Tokens that are computed of a row: its prompt once, and each distinct response."""
    return row.prompt_group.tokens


def count_response_tokens(row: Row) -> int:
    return sum(map(len, row.prompt_group.responses))
