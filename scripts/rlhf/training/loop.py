"""The training loop: preference pairs in, a trained policy and its metrics out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack, pack_budget
from rlhf.tokens.token_budget import TokenBudget, as_budget
from rlhf.training.compute_rate import ComputeMeter
from rlhf.training.data import epoch_order, micro_batches, pair_batch
from rlhf.training.optimizers import make_optimizer, scheduled_learning_rate
from rlhf.training.processes.strategies import accumulate, whole_weights
from rlhf.training.settings import RecipeSettings, TrainSpec
from rlhf.training.state.states import Position, TrainingStates
from rlhf.training.validation import START_PAIRS, Validation, check_start, spread, validate

SUMMED = 4
"""Numbers that are summed up over the pairs of a batch."""
OUT_OF_MEMORY = (
    "Set `activations: recompute` or more GPUs for train_policy under `hardware`, train adapters (`lora`), or lower "
    "`max_tokens` of prompts or responses"
)
"""What to do where a single pair does not fit."""
Metrics = dict[str, Any]
"""A row of `TRAINING`."""


class Trained(NamedTuple):
    """What a training gives."""

    metrics: list[Metrics]
    """Of step 0, before training, and of every optimizer step."""
    weights: dict[str, torch.Tensor]
    """Of the policy, by name, in the main process."""
    validation: Validation | None
    """After the last step; None where the saved state was one after it."""


def train(
    model: ResponseLogprobs,
    pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: int,
    states: TrainingStates | None = None,
) -> Trained:
    """Train the policy in `model` in place, from where its saved states end.

    Raises:
        StartAgainError: in one of several processes; they have to start again.
        Stopped: the program was asked to end, and the state is saved.
        UserError: no pairs, log-ratios that are not zero at the start, or a loss or gradient that is not finite.
    """
    if not pairs:
        raise UserError("there are no pairs to train on: every prompt was dropped by `build_pairs`; see its log")
    recipe = spec.recipe
    device, processes = accelerator.device, accelerator.num_processes
    budget = TokenBudget(token_budget, OUT_OF_MEMORY, states.budget_file if states else None, processes)
    meter = ComputeMeter(model.policy, device, processes, adapters=recipe.lora is not None)
    model, optimizer = accelerator.prepare(model, make_optimizer(model, recipe))
    position = states.resume(accelerator) if states else None
    if position is None:
        position = start(model, pairs, validation_pairs, spec, accelerator, budget)
    tokens, metrics, validation = position.tokens, position.metrics, None
    steps_per_epoch = max(1, len(pairs) // recipe.batch_size)
    total = number_of_steps(recipe, len(pairs))
    left = (total - position.step) * min(recipe.batch_size, len(pairs))
    with Progress(left, "pairs", f"training {spec.policy}", shown=accelerator.is_main_process) as progress:
        for step in range(position.step + 1, total + 1):
            batch = batch_of_step(pairs, step, steps_per_epoch, spec)
            learning_rate = scheduled_learning_rate(recipe, step, total)
            found = optimizer_step(model, optimizer, batch, step, learning_rate, spec, accelerator, budget)
            batch_tokens = sum(map(count_tokens, batch))
            tokens += batch_tokens
            row = _row(step, step / steps_per_epoch, tokens=tokens, learning_rate=learning_rate, **found)
            if step % recipe.validation_interval == 0 or step == total:
                validation = validate(model, validation_pairs, spec, budget, accelerator)
                row.update(validation.metrics())
            metrics.append(row)
            accelerator.log({name: value for name, value in row.items() if value is not None}, step=step)
            shown = meter.count(batch_tokens, sum(map(count_response_tokens, batch)))
            progress.advance(len(batch), tokens=batch_tokens, loss=f"{row['loss']:.4g}", **shown)
            if states:
                states.after_step(accelerator, Position(step, tokens, metrics))
    return Trained(metrics, whole_weights(model, accelerator), validation)


def start(
    model: ResponseLogprobs,
    pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    spec: TrainSpec,
    accelerator: Accelerator,
    budget: TokenBudget,
) -> Position:
    """Validate before the first step, and check that the policy is the reference, of the training pairs too.

    Raises:
        UserError: log-ratios that are not zero.
    """
    found = validate(model, validation_pairs, spec, budget, accelerator)
    check_start(found, validation_pairs, spec)
    if spec.loss.needs_reference:
        checked = spread(pairs, START_PAIRS)
        check_start(validate(model, checked, spec, budget, accelerator), checked, spec)
    return Position(step=0, tokens=0, metrics=[_row(0, 0.0, tokens=0, **found.metrics())])


def batch_of_step(pairs: Sequence[Pair], step: int, steps_per_epoch: int, spec: TrainSpec) -> list[Pair]:
    """The pairs of an optimizer step; the first one is step 1."""
    epoch, number = divmod(step - 1, steps_per_epoch)
    order, size = epoch_order(len(pairs), spec.seed, epoch), spec.recipe.batch_size
    return [pairs[index] for index in order[number * size : (number + 1) * size].tolist()]


def number_of_steps(recipe: RecipeSettings, pairs: int) -> int:
    """Optimizer steps of a training; pairs that do not fill a batch are left over, unless there is no other."""
    if recipe.pairs is not None:
        return max(1, recipe.pairs // min(recipe.batch_size, pairs))
    return max(1, pairs // recipe.batch_size) * recipe.epochs


def optimizer_step(
    model: ResponseLogprobs,
    optimizer: AcceleratedOptimizer,
    batch: Sequence[Pair],
    step: int,
    learning_rate: float,
    spec: TrainSpec,
    accelerator: Accelerator,
    budget: TokenBudget,
) -> Metrics:
    """Train on a batch; what `summarise` says of it, and `grad_norm`, before clipping.

    Raises:
        UserError: loss or gradient are not finite. The weights are as before (but for DeepSpeed, which has stepped).
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    sums = backward_batch(model, batch, spec, accelerator, budget)
    grad_norm = clip(model, spec.recipe.max_grad_norm, accelerator)
    found = {**summarise(sums, len(batch), spec), "grad_norm": grad_norm}
    refuse_not_finite(step, found, batch)
    optimizer.step()
    optimizer.zero_grad()
    return found


def backward_batch(
    model: ResponseLogprobs,
    batch: Sequence[Pair],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: TokenBudget | int,
) -> torch.Tensor:
    """The gradient of the mean loss of a batch, in shares of the processes; what was summed up, see `backward`.

    The model has no gradient before. Where memory runs out, the whole batch is computed again in smaller packs.
    """

    def compute(tokens: int) -> torch.Tensor:
        budget = pack_budget(tokens, accelerator.device)
        shares = micro_batches(batch, budget, accelerator.process_index, accelerator.num_processes)
        sums = torch.zeros(SUMMED, device=accelerator.device)
        for number, pairs in enumerate(shares):
            with accumulate(accelerator, model, last=number + 1 == len(shares)):
                # An empty share is computed too, with weight 0: every process must make as many passes.
                weight = accelerator.num_processes / len(batch) if pairs else 0.0
                found = backward(model, pairs or batch[:1], weight, spec, accelerator)
            sums += found if pairs else 0.0
        return sums

    sums = as_budget(token_budget).repeat(compute, lambda: list(map(count_tokens, batch)), undo=model.zero_grad)
    return accelerator.reduce(sums, "sum")


def backward(
    model: ResponseLogprobs, pairs: Sequence[Pair], weight: float, spec: TrainSpec, accelerator: Accelerator
) -> torch.Tensor:
    """Add the gradient of `weight` times the summed loss of some pairs.

    Returns:
        Sums over the pairs, float32 (SUMMED,): optimised loss, reward gap, log-ratios of chosen and rejected.
    """
    with accelerator.autocast():
        logprobs = model(Pack([pair.prompt_group for pair in pairs], accelerator.device))
    batch = pair_batch(pairs, *logprobs.view(-1, 2).unbind(1))
    losses = spec.loss.loss(batch)
    accelerator.backward(losses.sum() * weight)
    gap = batch.chosen_reward - batch.rejected_reward
    return torch.stack([losses, gap, batch.chosen_logratio, batch.rejected_logratio]).detach().sum(1)


def clip(model: ResponseLogprobs, max_norm: float | None, accelerator: Accelerator) -> float:
    """Clip the gradient where asked to; its norm before that."""
    norm = accelerator.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm)
    whole = getattr(norm, "full_tensor", None)  # FSDP2 shards it
    return float(norm if whole is None else whole())


def summarise(sums: torch.Tensor, pairs: int, spec: TrainSpec) -> Metrics:
    """Means over the pairs of a batch; the loss in its published scaling."""
    loss, gap, chosen, rejected = (sums / pairs).tolist()
    return {
        "loss": loss * spec.loss.reported_scale,
        "reward_gap": gap,
        "chosen_logratio": chosen if spec.loss.needs_reference else None,
        "rejected_logratio": rejected if spec.loss.needs_reference else None,
    }


def count_tokens(pair: Pair) -> int:
    """Tokens of a pair, its prompt once."""
    return pair.prompt_group.tokens


def count_response_tokens(pair: Pair) -> int:
    return len(pair.chosen_token_ids) + len(pair.rejected_token_ids)


def refuse_not_finite(step: int, found: Metrics, batch: Sequence[Pair]) -> None:
    """Raise UserError where a step's loss or gradient is not finite."""
    loss, grad_norm = found["loss"], found["grad_norm"]
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    names = ", ".join(pair.prompt_id for pair in batch)
    raise UserError(
        f"step {step}: the loss is {loss} and the norm of its gradient {grad_norm}. Lower the learning rate or clip "
        f"the gradient (`max_grad_norm`), or look at the pairs of this batch: {names}"
    )


def _row(step: int, epoch: float, **values: object) -> Metrics:
    return {"step": step, "epoch": epoch, **values}
