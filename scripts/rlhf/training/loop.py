"""The training loop: preference pairs in, a trained policy and its metrics out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.paired_prompts import PairedPrompt
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.compute_rate import ComputeMeter
from rlhf.training.data import pairs_of
from rlhf.training.optimization.optimizers import make_optimizer
from rlhf.training.optimization.schedule import Schedule
from rlhf.training.optimization.step import Metrics, Trainer, count_response_tokens, count_tokens
from rlhf.training.processes.accelerator import full_weights
from rlhf.training.settings import TrainSpec
from rlhf.training.state.states import Position, TrainingStates
from rlhf.training.validation import START_PROMPTS, Validation, check_start, spread

OUT_OF_MEMORY = (
    "Set `activations: recompute` or more GPUs for train_policy under `hardware`, train adapters (`lora`), or lower "
    "`max_tokens` of prompts or responses"
)
"""What to do if a single pair does not fit."""


class Trained(NamedTuple):
    """What a training returns."""

    metrics: list[Metrics]
    """Rows of `TRAINING`: step 0, before training, and every optimizer step."""
    weights: dict[str, torch.Tensor]
    """Of the policy, by name; in the main process only."""
    validation: Validation | None
    """After the last step; None if the training was resumed after it."""


def train(
    model: ResponseLogprobs,
    prompts: Sequence[PairedPrompt],
    validation_prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    accelerator: Accelerator,
    token_budget: int,
    states: TrainingStates | None = None,
) -> Trained:
    """Train the policy in `model` in place, resuming from the newest saved state if there is one.

    Raises:
        StartAgainError: memory ran out in one of several processes; all of them must start again.
        Stopped: the program was asked to end, and its state is saved.
        UserError: no pairs, log-ratios that are not zero at the start, or a loss or gradient that is not finite.
    """
    if not prompts:
        raise UserError("there are no pairs to train on: every prompt was dropped by `build_pairs`; see its log")
    schedule = Schedule(spec.recipe, len(prompts), spec.seed)
    meter = ComputeMeter(
        model.policy, accelerator.device, accelerator.num_processes, adapters=spec.recipe.lora is not None
    )
    trainer = prepare(model, spec, accelerator, token_budget, states)
    position = states.resume(accelerator) if states else None
    if position is None:
        position = start(trainer, prompts, validation_prompts)
    tokens, metrics, validation = position.tokens, position.metrics, None
    left = (schedule.steps - position.step) * schedule.batch_size
    unit = "pairs" if all(len(prompt.pairs) == 1 for prompt in spread(prompts, START_PROMPTS)) else "prompts"
    with Progress(left, unit, f"training {spec.policy}", shown=accelerator.is_main_process) as progress:
        for step in range(position.step + 1, schedule.steps + 1):
            batch = schedule.batch(prompts, step)
            row = trainer.step(batch, step, schedule.learning_rate(step))
            batch_tokens = sum(map(count_tokens, batch))
            tokens += batch_tokens
            row.update(step=step, epoch=schedule.epoch(step), tokens=tokens)
            if schedule.validates_after(step):
                validation = trainer.validate(validation_prompts)
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


def start(trainer: Trainer, prompts: Sequence[PairedPrompt], validation_prompts: Sequence[PairedPrompt]) -> Position:
    """Validate before the first step, and check that the policy is the reference of validation and training pairs.

    A training that starts from another policy than its reference is checked by `check_reference` instead.

    Raises:
        UserError: log-ratios that are not zero.
    """
    found = trainer.validate(validation_prompts)
    if trainer.spec.loss.needs_reference and trainer.spec.starts_from_reference:
        check_start(found, pairs_of(validation_prompts), trainer.spec)
        checked = spread(prompts, START_PROMPTS)
        check_start(trainer.validate(checked), pairs_of(checked), trainer.spec)
    return Position(step=0, tokens=0, metrics=[{"step": 0, "epoch": 0.0, "tokens": 0, **found.metrics()}])
