"""How several processes share a training, and how they are started."""

from __future__ import annotations

import os
import sys

from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from rlhf.errors import UserError
from rlhf.models import Precision

STRATEGIES = ("single", "ddp")
"""`single`: one process. `ddp`: every process has the whole model, and gradients are averaged."""


def launch(processes: int) -> None:
    """Start this program again as so many processes, in place of this one, unless it is one of them."""
    if "LOCAL_RANK" in os.environ:
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [*command, *sys.argv])


def make_accelerator(strategy: str, processes: int, precision: Precision, *, cpu: bool) -> Accelerator:
    """The accelerator of this process.

    Raises:
        UserError: strategy and number of processes do not go together, or it got other ones than it was to have.
    """
    if (strategy == "single") != (processes == 1):
        raise UserError(f"strategy {strategy} with {processes} process(es): `single` is one process, others are more")
    mixed_precision = "bf16" if precision == "bfloat16" else "no"
    # Given a backend, accelerate believes in several processes; given none, in one where there is no GPU.
    backend = [InitProcessGroupKwargs(backend="gloo" if cpu else "nccl")] if processes > 1 else []
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=backend)
    expected = DistributedType.NO
    if strategy == "ddp":
        expected = DistributedType.MULTI_CPU if cpu else DistributedType.MULTI_GPU
    if (accelerator.distributed_type, accelerator.num_processes) != (expected, processes):
        raise UserError(
            f"training is set to {strategy} with {processes} process(es), and got {accelerator.distributed_type.value} "
            f"with {accelerator.num_processes}: start it by the rule, or without a launcher of your own"
        )
    return accelerator
