"""The accelerator of a training: how its processes divide the work, by strategy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, DistributedType, InitProcessGroupKwargs
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.machine.choices import Strategy, check_strategy
from rlhf.training.processes.fsdp2 import fsdp2_plugin
from rlhf.training.processes.zero3 import prepare_deepspeed, zero3_plugin

CONFIGURATIONS = Path(__file__).resolve().parents[4] / "config/accelerate"


def make_accelerator(
    strategy: Strategy, processes: int, precision: Precision, max_grad_norm: float | None, *, cpu: bool, **more: Any
) -> Accelerator:
    """The accelerator of this process.

    Args:
        max_grad_norm: for DeepSpeed, which clips by itself; under the other strategies the training step clips.
        more: further arguments of `Accelerator`.

    Raises:
        UserError: strategy and number of processes do not go together, or are not what accelerate found.
    """
    check_strategy(strategy, processes, cpu=cpu)
    # Given a backend, accelerate assumes several processes; given none, one process where there is no GPU.
    backend = [InitProcessGroupKwargs(backend="gloo" if cpu else "nccl")] if processes > 1 else []
    autocast = AutocastKwargs(cache_enabled=False)  # see `rlhf.logprobs.responses.autocast`
    if strategy == "zero3":
        prepare_deepspeed(cpu=cpu)
    accelerator = Accelerator(
        cpu=cpu and strategy != "zero3",  # with `cpu`, accelerate ignores DeepSpeed
        mixed_precision="bf16" if precision == "bfloat16" and strategy != "zero3" else "no",
        kwargs_handlers=[*backend, autocast],
        deepspeed_plugin=(
            zero3_plugin(_configuration("zero3"), precision, max_grad_norm) if strategy == "zero3" else None
        ),
        fsdp_plugin=fsdp2_plugin(_configuration("fsdp2")) if strategy == "fsdp2" else None,
        **more,
    )
    expected = {
        "single": DistributedType.NO,
        "ddp": DistributedType.MULTI_CPU if cpu else DistributedType.MULTI_GPU,
        "zero3": DistributedType.DEEPSPEED,
        "fsdp2": DistributedType.FSDP,
    }[strategy]
    if (accelerator.distributed_type, accelerator.num_processes) != (expected, processes):
        raise UserError(
            f"training is set to {strategy} with {processes} process(es), but it runs as "
            f"{accelerator.distributed_type.value} with {accelerator.num_processes}: start it by its rule, or without "
            "a launcher of your own"
        )
    return accelerator


@contextmanager
def accumulate(accelerator: Accelerator, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
    """Around forward and backward of a micro-batch: gradients are reduced only after the last one of a batch.

    DeepSpeed also clips the gradient and takes the optimizer step at the end of that backward pass.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        accelerator.sync_gradients = last
        yield
    else:
        with nullcontext() if last else accelerator.no_sync(model):
            yield


def full_weights(model: torch.nn.Module, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """The unsharded weights of a prepared `ResponseLogprobs`; every process must call this.

    Returns:
        Tensors by their names in the policy, in the main process; the other processes must not use what they get.
    """
    found = accelerator.get_state_dict(model) or {}
    return {name.removeprefix("policy."): tensor for name, tensor in found.items()}


@contextmanager
def unsharded(accelerator: Accelerator) -> Iterator[None]:
    """Models that are loaded inside are whole in the process that loads them, under ZeRO-3 too."""
    plugin = accelerator.state.deepspeed_plugin
    unset_hf_deepspeed_config()  # while it is set, transformers shards the models it loads
    try:
        yield
    finally:
        if plugin is not None:
            plugin.set_deepspeed_weakref()


def release(accelerator: Accelerator) -> None:
    """Free the prepared model and optimizer, and end the process group: models loaded later are not sharded."""
    accelerator.free_memory()  # in each process, while the group still exists
    accelerator.end_training()
    unset_hf_deepspeed_config()  # while it is set, transformers shards the models it loads


def _configuration(strategy: Strategy) -> dict[str, Any]:
    return yaml.safe_load((CONFIGURATIONS / f"{strategy}.yaml").read_text())
