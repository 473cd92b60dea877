"""How several processes share a training, and how they are started."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from accelerate import Accelerator, DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate.utils import AutocastKwargs, DistributedType, InitProcessGroupKwargs
from filelock import FileLock
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.run import parse_args as launcher_arguments
from torch.distributed.run import run as run_processes
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.machine.choices import Strategy, check_strategy
from rlhf.machine.leases import lease_gpus
from rlhf.tokens.token_budget import saved_budgets
from rlhf.training.processes.failures import root_cause

LOGGER = logging.getLogger(__name__)
PARENT_DEATH_SIGNAL = 1
"""Option of prctl, as linux/prctl.h numbers it: PR_SET_PDEATHSIG."""
MEETING_POINT = "RLHF_MEETING_POINT"
"""Environment variable: host and port where the processes of several nodes find each other."""
CONFIGURATIONS = Path(__file__).resolve().parents[4] / "config/accelerate"


def launch(processes: int, nodes: int, gpus: int, threads: int, stop_seconds: int, states: Path) -> None:
    """Start this program again as several processes, unless it is one of them, and end as they do.

    Of several nodes, each first gets a copy of this program by Slurm's srun, which starts its share of the processes.
    The GPUs of a node are leased before, for all of them. The processes end with their launcher, however it ends.

    Args:
        processes: of all nodes.
        gpus: of all nodes.
        threads: of a process.
        stop_seconds: how long processes that were asked to end (SIGTERM) may take before they are killed.
        states: folder of the saved states, see `_run`.

    Raises:
        UserError: several nodes without Slurm's allocation.
    """
    if "LOCAL_RANK" in os.environ:
        _end_with_launcher()
        return
    if nodes > 1 and MEETING_POINT not in os.environ:
        _start_on_nodes(nodes, gpus // nodes, threads * processes // nodes)
    lease_gpus(gpus // nodes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    command = [f"--nproc-per-node={processes // nodes}", f"--shutdown-timeout={stop_seconds}"]
    if nodes == 1:
        command += ["--standalone"]
    else:
        host, port = os.environ[MEETING_POINT].rsplit(":", 1)
        command += [f"--nnodes={nodes}", f"--node-rank={os.environ['SLURM_NODEID']}"]
        command += [f"--master-addr={host}", f"--master-port={port}"]
    _run([*command, *sys.argv], states, again=nodes == 1)


def _run(command: list[str], states: Path, *, again: bool) -> NoReturn:
    """Run the processes, and run them again where they failed because memory ran out, with the budget that they saved.

    That ends: each time the budget has become smaller. Any other failure is final, and so is a signal. Of several nodes
    each has a launcher of its own: they could not agree either, so the job fails, and its retry reads the budget.

    Args:
        command: flags of torchrun, this program and its arguments.
        states: folder of the saved states, with the budgets.
    """
    while True:
        before = saved_budgets(states)
        try:
            run_processes(launcher_arguments(command))
            sys.exit()
        except ChildFailedError as failed:
            after = saved_budgets(states)
            if not again or all(tokens >= before.get(file, math.inf) for file, tokens in after.items()):
                raise UserError(root_cause(failed.failures)) from failed
            LOGGER.warning("starting all processes again with the smaller token budget")


def _start_on_nodes(nodes: int, gpus: int, threads: int) -> NoReturn:
    """Become an srun that starts this program once on each node of the allocation; the first one is this one."""
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"training on {nodes} nodes is started by Slurm's srun, and this is no Slurm job. Use profiles/slurm, or "
            "start this program on each node yourself: torchrun --nnodes ... scripts/train_policy.py ..."
        )
    with socket.socket() as free:
        free.bind(("", 0))
        os.environ[MEETING_POINT] = f"{socket.gethostname()}:{free.getsockname()[1]}"
    command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={threads}"]
    command += ["--kill-on-bad-exit=1", *([f"--gpus-per-node={gpus}"] if gpus else [])]
    os.execvp("srun", [*command, sys.executable, *sys.argv])


def _end_with_launcher() -> None:
    """A process that went on alone would hold its GPU, and write where the next run of its job writes."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


def leave(status: int = 0) -> NoReturn:
    """End this process, one of several, at once.

    Threads of torch's gloo outlive the process group. One that needs Python while the interpreter is being taken down
    aborts the process, now and then, after all is done.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def make_accelerator(
    strategy: Strategy, processes: int, precision: Precision, max_grad_norm: float | None, *, cpu: bool, **more: Any
) -> Accelerator:
    """The accelerator of this process.

    Args:
        max_grad_norm: DeepSpeed clips by itself; for the others it is the loop that does.
        more: further arguments of `Accelerator`.

    Raises:
        UserError: strategy and processes do not go together, or it got other ones than it was to have.
    """
    check_strategy(strategy, processes, cpu=cpu)
    # Given a backend, accelerate believes in several processes; given none, in one where there is no GPU.
    backend = [InitProcessGroupKwargs(backend="gloo" if cpu else "nccl")] if processes > 1 else []
    autocast = AutocastKwargs(cache_enabled=False)  # see `sequence_logprobs.autocast`
    if strategy == "zero3":
        _prepare_deepspeed(cpu)
    accelerator = Accelerator(
        cpu=cpu and strategy != "zero3",  # asked for the CPU, accelerate forgets DeepSpeed
        mixed_precision="bf16" if precision == "bfloat16" and strategy != "zero3" else "no",
        kwargs_handlers=[*backend, autocast],
        deepspeed_plugin=_deepspeed_plugin(precision, max_grad_norm) if strategy == "zero3" else None,
        fsdp_plugin=_fsdp_plugin() if strategy == "fsdp2" else None,
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
            f"training is set to {strategy} with {processes} process(es), and got {accelerator.distributed_type.value} "
            f"with {accelerator.num_processes}: start it by the rule, or without a launcher of your own"
        )
    return accelerator


@contextmanager
def accumulate(accelerator: Accelerator, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
    """Around the passes of a micro-batch: gradients meet after the last one of a batch.

    DeepSpeed also clips and takes its optimizer step at the end of that backward pass.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        accelerator.sync_gradients = last
        yield
    else:
        with nullcontext() if last else accelerator.no_sync(model):
            yield


def whole_weights(model: torch.nn.Module, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """The weights of a prepared `ResponseLogprobs`, put together from all processes; every process must ask.

    Returns:
        The tensors by their names in the policy, in the main process; what the others get is of no use.
    """
    found = accelerator.get_state_dict(model) or {}
    return {name.removeprefix("policy."): tensor for name, tensor in found.items()}


def release(accelerator: Accelerator) -> None:
    """End what the processes share, and let go of it: what is loaded from here on is whole, and has its place."""
    accelerator.free_memory()  # in each process, while they still know of each other
    accelerator.end_training()
    unset_hf_deepspeed_config()  # by which transformers shards what it loads


def _deepspeed_plugin(precision: Precision, max_grad_norm: float | None) -> DeepSpeedPlugin:
    """DeepSpeed's configuration file with what the experiment says."""
    experiment: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # it wants one; batches are cut by tokens here
        "gradient_accumulation_steps": 1,  # else it divides the loss
        "gradient_clipping": max_grad_norm or 0.0,
        "torch_autocast": {"enabled": precision == "bfloat16", "dtype": "bfloat16"},
        "zero_allow_untested_optimizer": True,
    }
    return DeepSpeedPlugin(hf_ds_config={**_configuration("zero3"), **experiment}, zero3_init_flag=True)


def _fsdp_plugin() -> FullyShardedDataParallelPlugin:
    """FSDP2's configuration file with the types of what its processes send each other.

    Where it is not said, accelerate computes, reduces and returns in bfloat16: log-probabilities of -501.503 would come
    back as -502. Weights are gathered in float32, and autocast makes the products bfloat16, as it does for one process
    and in `compute_logprobs`. To gather them in bfloat16 would round embeddings, norms and what goes from layer to
    layer too, and the log-ratios at step 0 would not be zero. It would save half of the bytes of a gather, which for 8B
    parameters are a tenth of a second per pass where NVLink joins the GPUs, behind a second of computing.
    """
    types = MixedPrecisionPolicy(
        param_dtype=torch.float32, reduce_dtype=torch.float32, output_dtype=torch.float32, cast_forward_inputs=False
    )
    return FullyShardedDataParallelPlugin(**_configuration("fsdp2"), mixed_precision_policy=types)


def _prepare_deepspeed(cpu: bool) -> None:
    """DeepSpeed takes GPUs where it sees some, and tells of all that it does."""
    if cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["DS_ACCELERATOR"] = "cpu"
        _compile_communication()
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`torch.distributed.*is deprecated", FutureWarning)  # one for each call


def _compile_communication() -> None:
    """On CPUs, DeepSpeed compiles what joins the processes of one machine: once for the torch of this environment.

    A compilation that was killed leaves a file behind, and all later ones would wait for it to go. So only the holder
    of a lock compiles, and it removes that file first.
    """
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder  # type: ignore[import-untyped]

    builder = ShareMemCommBuilder()
    if not builder.is_compatible(verbose=False):
        return
    folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix) / "torch_extensions")))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{builder.name}.lock"):
        (folder / builder.name / "lock").unlink(missing_ok=True)
        builder.load(verbose=False)


def _configuration(strategy: Strategy) -> dict[str, Any]:
    return yaml.safe_load((CONFIGURATIONS / f"{strategy}.yaml").read_text())
