"""Twenty training steps of a policy of the tiny world's size, on the device and on the CPU: both must agree.

The CPU's own trajectories come first, in one process; the strategies for several processes are compared with them, with
one process each, in the groups `zero3` and `fsdp2`.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from cases import TINY_POLICY
from preference_pairs import TEMPERATURE, made_pairs, random_policy, training_spec
from record import Row, judged
from rlhf.base.settings import Precision
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.choices import Strategy
from rlhf.pairs.schema import Pair
from rlhf.training.loop import train
from rlhf.training.processes import accelerator as accelerators
from rlhf.training.processes.accelerator import make_accelerator
from rlhf.training.settings import TrainSpec
from tasks import Exam, Task

STEPS = 20
LEARNING_RATE, ETA = 1e-3, 100.0
"""Large enough to move weights and loss visibly in so few steps."""
TINY_WORLD = {**TINY_POLICY, "pairs": 16 * STEPS, "log_lengths": (2.7, 2.7), "longest": 60}
SMALLER = {**TINY_WORLD, "vocabulary": 200, "hidden": 32, "pairs": 4 * STEPS, "longest": 12}
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
BUDGETS = {"reference": 100, "compared": 2048}
"""Tokens in one pass: different packs add in a different order, as a different device does."""
BARS = {"float32": (1e-4, 1e-2), "bfloat16": (2e-2, 0.1)}
"""Differences of the losses relative to the first one, and of the weights relative to how far they moved."""
CPU = torch.device("cpu")


def tasks(exam: Exam) -> list[Task]:
    """The CPU's trajectories, and those of the strategy `single` on the device."""
    own = [
        Task(f"training, CPU, {precision}", 20, functools.partial(reference, exam, precision))
        for precision in PRECISIONS
    ]
    return [*own, *compared_tasks(exam, "single", "")]


def compared_tasks(exam: Exam, strategy: Strategy, missing: str) -> list[Task]:
    place = "GPU" if exam.device.type == "cuda" else "CPU, other packs"
    return [
        Task(what, 25, functools.partial(compare, what, exam, strategy, precision), missing)
        for precision in PRECISIONS
        for what in [f"training, {place}, {strategy}, {precision}"]
    ]


def reference(exam: Exam, precision: Precision) -> Iterator[Row]:
    """Train on the CPU, and save the trajectory for the groups that are compared with it."""
    found = trajectory(options_of(exam), "single", precision, CPU, BUDGETS["reference"])
    torch.save(found, _file(exam, precision))
    losses = found["losses"]
    yield Row(
        f"training, CPU, {precision}, {STEPS} steps",
        f"loss {losses[0]:.5g} to {losses[-1]:.5g}; weights moved by {float(found['moved']):.2g} of their norm",
        figures={"losses": losses},
    )


def compare(what: str, exam: Exam, strategy: Strategy, precision: Precision) -> Iterator[Row]:
    """Train with a strategy on the device, and report how far it is from the CPU's trajectory."""
    expected = torch.load(_file(exam, precision))
    found = trajectory(options_of(exam), strategy, precision, exam.device, BUDGETS["compared"])
    losses = torch.tensor([expected["losses"], found["losses"]], dtype=torch.float64)
    of_losses = float((losses[1] - losses[0]).abs().max() / losses[0, 0])
    start, end = expected["start"], expected["end"]
    of_weights = float((found["end"] - end).norm() / (end - start).norm())
    bars = BARS[precision]
    yield judged(
        what,
        f"losses differ by {of_losses:.1e}, weights by {of_weights:.1e} of their way",
        f"≤ {bars[0]:.0e}, ≤ {bars[1]:.0e}",
        passed=of_losses <= bars[0] and of_weights <= bars[1],
        losses=found["losses"],
        expected_losses=expected["losses"],
        weights=of_weights,
    )


def trajectory(
    options: dict[str, Any], strategy: Strategy, precision: Precision, device: torch.device, budget: int
) -> dict[str, Any]:
    """Losses of all steps, and all weights before and after, float64."""
    spec = tiny_spec(options, precision)
    pairs = tiny_pairs(options, precision)
    accelerator = one_process(strategy, spec, device)
    policy = random_policy(options, CPU).to(accelerator.device)  # a GPU draws different numbers from the same seed
    start = {name: tensor.detach().double().cpu() for name, tensor in policy.named_parameters()}
    trained = train(ResponseLogprobs(policy, TEMPERATURE), pairs, pairs[:8], spec, accelerator, budget)
    before, after = (
        torch.cat([weights[name].detach().double().cpu().flatten() for name in start])
        for weights in (start, trained.weights)
    )
    losses = [row["loss"] for row in trained.metrics if row["step"] > 0]
    return {"losses": losses, "start": before, "end": after, "moved": (after - before).norm() / before.norm()}


def one_process(strategy: Strategy, spec: TrainSpec, device: torch.device) -> Accelerator:
    """The accelerator of a training in this process alone, replacing an earlier one.

    Users get `zero3` and `fsdp2` for several processes only: sharding over one is of use for this comparison alone.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    with mock.patch.object(accelerators, "check_strategy"):
        return make_accelerator(strategy, 1, spec.precision, spec.recipe.max_grad_norm, cpu=device.type == "cpu")


def alone_in_its_group() -> None:
    """Make this process the only one of a group, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in (ranks | place).items()})


def options_of(exam: Exam) -> dict[str, Any]:
    return SMALLER if exam.small else TINY_WORLD


def tiny_spec(options: dict[str, Any], precision: Precision) -> TrainSpec:
    """Twenty batches, one pass over the pairs, with clipping."""
    spec = training_spec({"precision": precision})
    changed = {"batch_size": options["pairs"] // STEPS, "learning_rate": LEARNING_RATE, "max_grad_norm": 1.0}
    recipe, loss = spec.recipe.model_copy(update=changed), spec.loss.model_copy(update={"eta": ETA})
    return spec.model_copy(update={"recipe": recipe, "loss": loss})


def tiny_pairs(options: dict[str, Any], precision: Precision) -> list[Pair]:
    """Random pairs with the log-probabilities that the policy gives them on the CPU: the training checks its start."""
    pairs = made_pairs(options)
    model = ResponseLogprobs(random_policy(options, CPU), TEMPERATURE)
    columns = zip(*pair_logprobs(model, pairs, precision, BUDGETS["reference"]), strict=True)
    return [
        replace(pair, chosen_logprob=chosen, rejected_logprob=rejected)
        for pair, (chosen, rejected) in zip(pairs, columns, strict=True)
    ]


def _file(exam: Exam, precision: Precision) -> Path:
    return exam.folder / f"trajectory-{precision}.pt"
