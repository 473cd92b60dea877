"""What a training leaves on disk, and how long it takes to end with its state saved, by arithmetic.

A state is what `accelerate.save_state` writes: all weights as they are stored, frozen ones too, and the moments of the
trained ones: 12 bytes per weight where all are trained, whatever the strategy. Measured with a Llama of 2 million
weights, on two processes where a strategy needs them: up to 3 % above the calculated bytes, and 8 % for adapters under
FSDP2. The rest are names, random states and DeepSpeed's scripts, which do not grow with the matrices.
"""

from __future__ import annotations

import math

from rlhf.machine.memory import TrainingSetup, stored_moments, stored_weights
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.shards import shards
from rlhf.machine.throughput import step_seconds

DISK_BYTES_PER_SECOND = 0.5e9
"""What a disk takes at least of all processes of a training: a tenth of an NVMe drive, 40 % of a 10 Gbit/s network."""
CHECKSUM_BYTES_PER_SECOND = 0.5e9
"""SHA-256 by one thread, on a processor without instructions for it. Every file has its own thread."""
MARGIN_SECONDS = 30
"""To copy weights from the GPUs, to wait for each other, and to end the processes."""
DEFAULT_STOP_SECONDS = 300
"""Where the size of the model is not known."""
STATES_AT_ONCE = 2
"""Saved states on the disk at the most, one that is being written among them."""
SPARE_DISK = 0.1
LEAST_DISK_MB = 50_000
"""As every profile asks for each job."""


def state_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of one saved state, the files of all processes together."""
    return stored_weights(shape, setup) + stored_moments(shape, setup)


def largest_file(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of a saved state's largest file, at most: all of a process's part, or the moments where it is not cut."""
    parts = shards(setup.strategy, setup.processes)
    if parts == 1:
        return max(stored_weights(shape, setup), stored_moments(shape, setup))
    return math.ceil(state_bytes(shape, setup) / parts)


def checkpoint_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of the policy's weights as it is published, adapters merged, and of the adapters by themselves."""
    adapters = 0 if setup.lora_rank is None else 4 * shape.adapters(setup.lora_rank)
    return (2 if setup.precision == "bfloat16" else 4) * shape.parameters + adapters


def training_disk_mb(shape: ModelShape, setup: TrainingSetup) -> int:
    """Megabytes of disk for the saved states and the checkpoint, with a tenth to spare."""
    needed = STATES_AT_ONCE * state_bytes(shape, setup) + checkpoint_bytes(shape, setup)
    return max(LEAST_DISK_MB, math.ceil((1 + SPARE_DISK) * needed / 1e6))


def stop_seconds(shape: ModelShape, setup: TrainingSetup, step: float) -> int:
    """Seconds in which a training that is asked to end finishes its step and saves its state, whole minutes.

    Args:
        step: seconds of a step and a validation.
    """
    write = state_bytes(shape, setup) / DISK_BYTES_PER_SECOND
    needed = step + write + largest_file(shape, setup) / CHECKSUM_BYTES_PER_SECOND + MARGIN_SECONDS
    return 60 * math.ceil(needed / 60)


def short_notice(
    given: int, shape: ModelShape, setup: TrainingSetup, tokens: float, validation_tokens: float, rate: float | None
) -> str | None:
    """A sentence where a training that is asked to end has less time than it needs to save its state; None elsewhere.

    Args:
        given: seconds until it is killed.
        tokens: of the longest step.
        validation_tokens: of a validation.
        rate: operations per second of each of its GPUs; None where it is not known, and the step is left out.
    """
    step = 0.0 if rate is None else step_seconds(shape, setup, tokens, validation_tokens, rate / 1e12)
    needed = stop_seconds(shape, setup, step)
    if given >= needed:
        return None
    return (
        f"asked to end, this training may be killed before its state is saved: hardware.train_policy.stop_seconds "
        f"gives it {given} seconds, and to end a step and save {state_bytes(shape, setup) / 1e9:.2g} GB may take it "
        f"{needed}. It would go on from the state before, which is up to `save_seconds` older"
    )
