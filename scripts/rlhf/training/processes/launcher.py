"""Starts a training as several processes with torchrun, on one machine or on the nodes of a Slurm job."""

from __future__ import annotations

import atexit
import ctypes
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args as launcher_arguments
from torch.distributed.run import run as run_processes

from rlhf.base.errors import UserError
from rlhf.machine.leases import lease_gpus
from rlhf.tokens.token_budget import StartAgainError, saved_budgets
from rlhf.training.processes.failures import root_cause

LOGGER = logging.getLogger(__name__)
PARENT_DEATH_SIGNAL = 1
"""Option of prctl, as linux/prctl.h numbers it: PR_SET_PDEATHSIG."""
MEETING_POINT = "RLHF_MEETING_POINT"
"""Environment variable: host and port at which the launchers of several nodes find each other."""


def launch(processes: int, nodes: int, gpus: int, threads: int, stop_seconds: int, states: Path) -> None:
    """Start this program again as several processes and exit when they do; in one of those, return.

    On several nodes, Slurm's srun first starts a copy of this program on each, which starts that node's processes.
    Each launcher leases the GPUs of its node for all its processes. They are killed when their launcher dies.

    Args:
        processes: on all nodes together.
        gpus: on all nodes together.
        threads: per process.
        stop_seconds: time between SIGTERM and SIGKILL when the processes are asked to end.
        states: folder of the saved states, see `_run`.

    Raises:
        UserError: several nodes without Slurm's allocation.
    """
    if "LOCAL_RANK" in os.environ:
        _die_with_launcher()
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


@contextmanager
def leaving_to_start_again() -> Iterator[None]:
    """End this process at once if it has to start again with the others because memory ran out."""
    try:
        yield
    except StartAgainError:
        leave(1)  # the others wait for this process in a collective operation, and a clean exit could wait for them


def leave(status: int = 0) -> NoReturn:
    """End this process, one of several or their launcher, without shutting down the interpreter.

    Threads of torch (gloo's, those of the launcher's store) outlive what they are for. One that needs Python during the
    shutdown of the interpreter aborts the process, now and then, after all work is done.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _run(command: list[str], states: Path, *, again: bool) -> NoReturn:
    """Run the processes, and again if memory ran out and they saved a smaller token budget.

    This ends, since the budget shrinks each time. Any other failure is final, and so is a signal. On several nodes each
    launcher is on its own and they could not agree to start again, so the job fails, and its retry reads the budget.

    Args:
        command: flags of torchrun, this program and its arguments.
        states: folder of the saved states, with the budgets.
    """
    while True:
        before = saved_budgets(states)
        try:
            run_processes(launcher_arguments(command))
            leave()
        except SignalException as asked:
            atexit.register(leave, 1)  # once the error is printed
            name = signal.Signals(asked.sigval).name
            raise UserError(
                f"asked to end ({name}). Run the same command again: it resumes from the last saved state"
            ) from asked
        except ChildFailedError as failed:
            after = saved_budgets(states)
            if not again or all(tokens >= before.get(file, math.inf) for file, tokens in after.items()):
                atexit.register(leave, 1)
                raise UserError(root_cause(failed.failures)) from failed
            LOGGER.warning("starting all processes again with the smaller token budget")


def _start_on_nodes(nodes: int, gpus: int, threads: int) -> NoReturn:
    """Become an srun that starts this program once on each node of the allocation; the first node is this one.

    Args:
        gpus: per node.
        threads: per node.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            f"training on {nodes} nodes is started by Slurm's srun, and this is not a Slurm job. Use profiles/slurm, "
            "or start this program on each node yourself: torchrun --nnodes ... scripts/train_policy.py ..."
        )
    with socket.socket() as free:
        free.bind(("", 0))
        os.environ[MEETING_POINT] = f"{socket.gethostname()}:{free.getsockname()[1]}"
    command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={threads}"]
    command += ["--kill-on-bad-exit=1", *([f"--gpus-per-node={gpus}"] if gpus else [])]
    os.execvp("srun", [*command, sys.executable, *sys.argv])


def _die_with_launcher() -> None:
    """Ask the kernel to kill this process when its parent dies.

    An orphan would hold its GPU, and write to the same files as the next run of its job.
    """
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
