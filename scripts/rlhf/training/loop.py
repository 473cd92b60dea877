"""The training loop: preference pairs or examples in, a trained policy and its metrics out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.compute_rate import ComputeMeter
from rlhf.training.optimization.optimizers import make_optimizer
from rlhf.training.optimization.schedule import Schedule
from rlhf.training.optimization.step import Trainer, count_response_tokens, count_tokens
from rlhf.training.processes.accelerator import full_weights
from rlhf.training.settings import TrainSpec
from rlhf.training.state.states import Position, TrainingStates
from rlhf.training.units.unit import Measured, Metrics, Row
from rlhf.training.validation import START_ROWS, check_start, spread

OUT_OF_MEMORY = (
    "Set `activations: recompute` or more GPUs for train_policy under `hardware`, train adapters (`lora`), or lower "
    "`max_tokens` of prompts or responses"
)
"""What to do if a single pair or example does not fit."""


class Trained(NamedTuple):
    """What a training returns."""

    metrics: list[Metrics]
    """Rows of `TRAINING`: step 0, before training, and every optimizer step."""
    weights: dict[str, torch.Tensor]
    """Of the policy, by name; in the main process only."""
    validation: Measured | None
    """After the last step; None if the training was resumed after it."""


def train(
    model: ResponseLogprobs,
    rows: Sequence[Row],
    validation_rows: Sequence[Row],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: int,
    states: TrainingStates | None = None,
) -> Trained:
    """Train the policy in `model` in place, resuming from the newest saved state if there is one.

    Args:
        rows, validation_rows: prompts with their pairs, or examples, whichever the loss learns from.

    Raises:
        StartAgainError: memory ran out in one of several processes; all of them must start again.
        Stopped: the program was asked to end, and its state is saved.
        UserError: no rows, log-ratios that are not zero at the start, or a loss or gradient that is not finite.
    """
    unit = spec.loss.unit()
    if not rows:
        raise UserError(f"there are no {unit.name} to train on: all were dropped by `build_{unit.name}`; see its log")
    schedule = Schedule(spec.recipe, len(rows), spec.seed)
    meter = ComputeMeter(
        model.policy, accelerator.device, accelerator.num_processes, adapters=spec.recipe.lora is not None
    )
    trainer = prepare(model, spec, accelerator, token_budget, states)
    position = states.resume(accelerator) if states else None
    if position is None:
        position = start(trainer, rows, validation_rows)
    tokens, metrics, validation = position.tokens, position.metrics, None
    left = (schedule.steps - position.step) * schedule.batch_size
    counted = unit.counted(spread(rows, START_ROWS))
    with Progress(left, counted, f"training {spec.policy}", shown=accelerator.is_main_process) as progress:
        for step in range(position.step + 1, schedule.steps + 1):
            batch = schedule.batch(rows, step)
            row = trainer.step(batch, step, schedule.learning_rate(step))
            batch_tokens = sum(map(count_tokens, batch))
            tokens += batch_tokens
            row.update(step=step, epoch=schedule.epoch(step), tokens=tokens)
            if schedule.validates_after(step):
                validation = trainer.measure(validation_rows)
                row.update(validation.metrics())
            metrics.append(row)
            accelerator.log({name: value for name, value in row.items() if value is not None}, step=step)
            rate = meter.count(batch_tokens, sum(map(count_response_tokens, batch)))
            progress.advance(len(batch), tokens=batch_tokens, loss=f"{row['loss']:.4g}", **rate)
            if states:
                states.after_step(accelerator, Position(step, tokens, metrics))
    return Trained(metrics, full_weights(trainer.model, accelerator), validation)


def prepare(
    model: ResponseLogprobs,
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: int,
    states: TrainingStates | None,
) -> Trainer:
    """Make the optimizer, and distribute it and the model over the processes."""
    prepared_model, optimizer = accelerator.prepare(model, make_optimizer(model, spec.recipe))
    saved_budget = states.budget_file if states else None
    budget = TokenBudget(token_budget, OUT_OF_MEMORY, saved_budget, accelerator.num_processes)
    return Trainer(prepared_model, optimizer, spec, accelerator, budget)


def start(trainer: Trainer, rows: Sequence[Row], validation_rows: Sequence[Row]) -> Position:
    """Validate before the first step, and check that the policy is the reference of validation and training rows.

    A training that starts from another policy than its reference is checked by `check_reference` instead.

    Raises:
        UserError: log-ratios that are not zero.
    """
    found = trainer.measure(validation_rows)
    if trainer.spec.loss.needs_reference and trainer.spec.starts_from_reference:
        check_start(found, validation_rows, trainer.spec)
        checked = spread(rows, START_ROWS)
        check_start(trainer.measure(checked), checked, trainer.spec)
    return Position(step=0, tokens=0, metrics=[{"step": 0, "epoch": 0.0, "tokens": 0, **found.metrics()}])
