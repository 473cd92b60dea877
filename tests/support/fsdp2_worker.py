"""One of two processes of `strategy: fsdp2` on the CPU, with accelerate's own preparation and torch's `fully_shard`.

Accelerate shards only on GPUs. Here it is told that there are some, and gets the CPU and gloo instead.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType
from torch import distributed
from torch.distributed.tensor import DTensor

from rlhf.base.settings import Precision
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs, autocast, checkpoint_activations
from rlhf.tokens.packing import Pack
from rlhf.training.loop import Trained, train
from rlhf.training.processes.accelerator import make_accelerator
from rlhf.training.processes.launcher import leave
from small_models import CPU, random_pairs, small_llama, train_spec

PAIRS = random_pairs(12, seed=1)
SPEC = train_spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, batch_size=4, learning_rate=1e-3)
TEMPERATURE = 0.8


def pretend_gpus() -> None:
    def backend(self: PartialState, *_: object, **__: object) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    def device(self: PartialState) -> None:
        self.device = CPU

    PartialState._prepare_backend = backend
    PartialState.set_device = device


def pack(process: int) -> Pack:
    """A different batch in each process."""
    return Pack([pair.prompt_group for pair in PAIRS[process::2]], CPU)


def policy(recompute: bool) -> ResponseLogprobs:
    llama = small_llama()
    if recompute:
        checkpoint_activations(llama)
    return ResponseLogprobs(llama, TEMPERATURE)


def alone(precision: Precision) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """This process's values, and the mean of both processes' gradients, by one process with the whole model."""
    values, gradients = [], {}
    for process in range(2):
        model = policy(recompute=False)
        with autocast(precision, CPU):
            values.append(model(pack(process)))
        (values[-1].sum() / 2).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            gradients[name] = gradients.get(name, 0) + parameter.grad
    return values[distributed.get_rank()].detach(), gradients


def shared(accelerator: Accelerator, recompute: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model = policy(recompute)
    model, _ = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    with accelerator.autocast():
        values = model(pack(distributed.get_rank()))
    values.sum().backward()
    gradients = {name: parameter.grad.full_tensor() for name, parameter in model.named_parameters()}
    accelerator.free_memory()
    return values.detach(), gradients


def trained(accelerator: Accelerator) -> Trained:
    """In float32: in bfloat16, splitting a batch differently gives different numbers."""
    chosen, rejected = pair_logprobs(policy(recompute=False), PAIRS, "float32", token_budget=100)
    given = [
        replace(pair, chosen_logprob=c, rejected_logprob=r) for pair, c, r in zip(PAIRS, chosen, rejected, strict=True)
    ]
    return train(policy(recompute=False), given, given[:5], SPEC, accelerator, token_budget=100)


def differences(accelerator: Accelerator, precision: Precision, recompute: bool) -> dict[str, Any]:
    """Of sharded processes from a whole one."""
    (expected, of_one), (found, of_both) = alone(precision), shared(accelerator, recompute)
    worst = torch.stack([(of_both[name] - of_one[name]).norm() / of_one[name].norm() for name in of_one]).max()
    return {
        "type": str(found.dtype),
        "equal": bool(accelerator.reduce(torch.tensor(float(found.equal(expected))), "sum") == 2),
        "gradient": float(worst),
    }


def main(precision: Precision, output: Path) -> None:
    pretend_gpus()
    accelerator = make_accelerator("fsdp2", 2, precision, None, cpu=False)
    types = accelerator.state.fsdp_plugin.mixed_precision_policy
    found: dict[str, Any] = {
        "types": {name: str(value) for name, value in vars(types).items()},
        "kept": differences(accelerator, precision, recompute=False),
        "recomputed": differences(accelerator, precision, recompute=True),
    }
    if precision == "float32":
        found["metrics"], weights, _ = trained(accelerator)
        if accelerator.is_main_process:
            torch.save(weights, output / "weights.pt")
    if accelerator.is_main_process:
        (output / "found.json").write_text(json.dumps(found))
    accelerator.wait_for_everyone()
    leave()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))  # type: ignore[arg-type]
