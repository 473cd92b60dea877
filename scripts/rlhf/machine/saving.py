"""Estimates of the disk space of a training, and of the time it needs to stop with its state saved.

A training state is what `accelerate.save_state` writes: all weights as stored, frozen ones included, and the optimizer
state of the trained ones. That is 12 bytes per weight if all are trained, under any strategy. Measured with a Llama of
2 million weights (on two processes if the strategy needs them), files were at most 3 % larger than computed, and 8 %
for adapters under FSDP2. The excess is names, random states and DeepSpeed's scripts, which do not grow with the model.
"""

from __future__ import annotations

import math

from rlhf.machine.memory import TrainingSetup, stored_moments, stored_weights
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.shards import shards
from rlhf.machine.throughput import step_seconds

DISK_BYTES_PER_SECOND = 0.5e9
"""Conservative write rate of all processes together: a tenth of an NVMe drive, 40 % of a 10 Gbit/s network."""
CHECKSUM_BYTES_PER_SECOND = 0.5e9
"""SHA-256 in one thread, on a CPU without SHA instructions. Every file has its own thread."""
MARGIN_SECONDS = 30
"""Time to copy weights from the GPUs, to synchronize, and to end the processes."""
DEFAULT_STOP_SECONDS = 300
"""Used if the size of the model is unknown."""
STATES_AT_ONCE = 2
"""Most saved states on disk at the same time, including the one being written."""
SPARE_DISK = 0.1
LEAST_DISK_MB = 50_000
"""What every profile requests for each job."""


def state_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of one saved state, summed over the files of all processes."""
    return stored_weights(shape, setup) + stored_moments(shape, setup)


def largest_file(shape: ModelShape, setup: TrainingSetup) -> int:
    """Upper bound on the bytes of a saved state's largest file: a process's shard, or unsharded weights or moments."""
    parts = shards(setup.strategy, setup.processes)
    if parts == 1:
        return max(stored_weights(shape, setup), stored_moments(shape, setup))
    return math.ceil(state_bytes(shape, setup) / parts)


def checkpoint_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of the checkpoint: the weights with adapters merged, and the separate adapters."""
    adapters = 0 if setup.lora_rank is None else 4 * shape.adapters(setup.lora_rank)
    return (2 if setup.precision == "bfloat16" else 4) * shape.parameters + adapters


def training_disk_mb(shape: ModelShape, setup: TrainingSetup) -> int:
    """Megabytes of disk for the saved states and the checkpoint, plus a tenth."""
    needed = STATES_AT_ONCE * state_bytes(shape, setup) + checkpoint_bytes(shape, setup)
    return max(LEAST_DISK_MB, math.ceil((1 + SPARE_DISK) * needed / 1e6))


def stop_seconds(shape: ModelShape, setup: TrainingSetup, step: float) -> int:
    """Seconds, in whole minutes, that a training needs after SIGTERM to finish its step and save its state.

    Args:
        step: seconds for a step and a validation.
    """
    write = state_bytes(shape, setup) / DISK_BYTES_PER_SECOND
    needed = step + write + largest_file(shape, setup) / CHECKSUM_BYTES_PER_SECOND + MARGIN_SECONDS
    return 60 * math.ceil(needed / 60)


def short_notice(
    given: int, shape: ModelShape, setup: TrainingSetup, tokens: float, validation_tokens: float, rate: float | None
) -> str | None:
    """A warning if a training may be killed before it has saved its state; None if there is enough time.

    Args:
        given: seconds from SIGTERM to the kill.
        tokens: tokens in the longest step.
        validation_tokens: tokens in a validation.
        rate: peak operations per second of each GPU; None if unknown, in which case the step is not counted.
    """
    step = 0.0 if rate is None else step_seconds(shape, setup, tokens, validation_tokens, rate / 1e12)
    needed = stop_seconds(shape, setup, step)
    if given >= needed:
        return None
    return (
        f"if stopped, this training may be killed before its state is saved: hardware.train_policy.stop_seconds gives "
        f"it {given} seconds, but finishing a step and saving {state_bytes(shape, setup) / 1e9:.2g} GB may take "
        f"{needed}. It would then resume from the previous state, which is up to `save_seconds` older"
    )
