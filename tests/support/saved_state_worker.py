"""One process of a training that takes one step and saves its state, under a given strategy.

Arguments: strategy, `all` or `adapters`, precision, the folder of the parent, the folder of the state.
"""

from __future__ import annotations

import sys
from pathlib import Path

import fsdp2_worker
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.memory import ROUNDS_FROZEN_WEIGHTS
from rlhf.models.policies import load_policy
from rlhf.tokens.packing import Pack
from rlhf.training.adapters import add_adapters
from rlhf.training.optimizers import make_optimizer
from rlhf.training.processes.strategies import accumulate, leave, make_accelerator
from rlhf.training.settings import LoraSettings, RecipeSettings
from small_models import random_pairs

RANK = 8


def main() -> None:
    strategy, trained, precision, parent, output = sys.argv[1:]
    if strategy == "fsdp2":
        fsdp2_worker.pretend_gpus()
    processes = 1 if strategy == "single" else 2
    accelerator = make_accelerator(strategy, processes, precision, None, cpu=strategy != "fsdp2")  # type: ignore[arg-type]
    policy = load_policy(parent, None, "float32", accelerator.device)
    if trained == "adapters":
        add_adapters(policy, LoraSettings(rank=RANK, alpha=RANK))
    model = ResponseLogprobs(policy, temperature=1.0)
    if strategy in ROUNDS_FROZEN_WEIGHTS:
        store_frozen_matrices(policy, precision)  # type: ignore[arg-type]
    model, optimizer = accelerator.prepare(model, make_optimizer(model, RecipeSettings()))
    with accumulate(accelerator, model, last=True), accelerator.autocast():
        found = model(Pack([pair.prompt_group for pair in random_pairs(4, seed=1)], accelerator.device))
        accelerator.backward(found.sum())
    optimizer.step()
    accelerator.wait_for_everyone()
    accelerator.save_state(str(Path(output)))
    accelerator.wait_for_everyone()
    leave()


if __name__ == "__main__":
    main()
