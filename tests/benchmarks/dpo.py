"""DPO as users would run it: the pipeline's `pair_logprobs` and `train`, against TRL's `DPOTrainer`.

Both take the same pairs in the same order, with the same weights, reference, optimizer and learning rates.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from preference_pairs import random_policy, the_pairs, training_spec
from rlhf.pairs.schema import Pair
from rlhf.training.data import epoch_order
from rlhf.training.loop import count_tokens
from rlhf.training.settings import TrainSpec
from turns import Pause, Turns

RECIPE = {
    "batch_size": 8,
    "learning_rate": 1e-4,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "weight_decay": 1e-6,
    "warmup": 0.0,  # the two count their warm-up's steps differently
    "max_grad_norm": 1.0,
}
BETA = 0.1


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Make the model and the pairs; a round takes the next batch of them.

    The work is `logprobs`, of the reference, or `training`, an optimizer step. What both ways compute of a batch is
    compared: log-probabilities, or loss and norm of the gradient.
    """
    torch.set_num_threads(options["threads"])
    pairs = the_pairs(options)
    spec = dpo_spec(options)
    if options["work"] == "training":
        pairs = [with_reference(pair, options["vocabulary"]) for pair in pairs]
    order = epoch_order(len(pairs), spec.seed, 0).tolist() if options["work"] == "training" else range(len(pairs))
    if way == "pipeline":
        turns = Turns(lambda pause: by_pipeline(options, pairs, spec, pause))
    else:
        from dpo_by_trl import by_trl

        turns = Turns(lambda pause: by_trl(options, [pairs[index] for index in order], RECIPE, BETA, folder, pause))
    size = spec.recipe.batch_size
    batches = iter([[pairs[index] for index in order[start : start + size]] for start in range(0, len(pairs), size)])

    def work() -> dict[str, Any]:
        seconds, found = turns.step()
        batch = next(batches)
        return {"seconds": seconds, "pairs": len(batch), "tokens": sum(map(count_tokens, batch)), "scores": found}

    return work


def dpo_spec(options: dict[str, Any]) -> TrainSpec:
    """DPO at temperature 1, the only one that TRL has."""
    settings = training_spec(options).model_dump()
    settings["recipe"].update(RECIPE)
    return TrainSpec.model_validate({**settings, "temperature": 1.0, "loss": {"name": "dpo", "beta": BETA}})


def with_reference(pair: Pair, vocabulary: int) -> Pair:
    """The pair with about the log-probabilities that random weights give, so that no loss begins at log 2."""
    per_token = -math.log(vocabulary) - 0.05
    chosen, rejected = len(pair.chosen_token_ids), len(pair.rejected_token_ids)
    return replace(pair, chosen_logprob=per_token * chosen, rejected_logprob=per_token * rejected)


def by_pipeline(options: dict[str, Any], pairs: list[Pair], spec: TrainSpec, pause: Pause) -> None:
    """As `compute_logprobs` and `train_policy` do it."""
    from accelerate import Accelerator

    from rlhf.logprobs.pairs import pair_logprobs
    from rlhf.logprobs.responses import ResponseLogprobs
    from rlhf.machine.device import granted_device
    from rlhf.training.loop import train
    from rlhf.training.state.states import Position, TrainingStates

    class Steps:
        """Stands in for `TrainingStates` and saves nothing.

        It resumes at step 0, which skips the check that the policy equals the reference: this reference is made up.
        """

        budget_file = None

        def resume(self, accelerator: Accelerator) -> Position:
            pause(None)
            return Position(step=0, tokens=0, metrics=[])

        def after_step(self, accelerator: Accelerator, position: Position) -> None:
            pause([position.metrics[-1]["loss"], position.metrics[-1]["grad_norm"]])

    device = granted_device(gpus=0, threads=options["threads"])
    model = ResponseLogprobs(random_policy(options, device), spec.temperature)
    if options["work"] == "training":
        accelerator = Accelerator(cpu=True, mixed_precision="no")
        train(model, pairs, [], spec, accelerator, options["token_budget"], cast(TrainingStates, Steps()))
        return
    pause(None)
    size = spec.recipe.batch_size
    for start in range(0, len(pairs), size):
        chosen, rejected = pair_logprobs(model, pairs[start : start + size], spec.precision, options["token_budget"])
        pause([*chosen, *rejected])
