"""What each strategy shards between processes, and what a process gathers from the shards of others."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from rlhf.machine.choices import Strategy
from rlhf.machine.model_shapes import ModelShape

ZERO3 = Path(__file__).resolve().parents[3] / "config/accelerate/zero3.yaml"


def shards(strategy: Strategy, processes: int) -> int:
    """Number of shards of weights, gradients and optimizer state."""
    return processes if strategy in ("zero3", "fsdp2") else 1


def gathered_bytes(shape: ModelShape, strategy: Strategy, size: int, *, keep: bool, stored_rounded: bool) -> int:
    """Bytes of gathered weights, copies of weights in the compute dtype, and communication buffers in one process.

    Args:
        size: bytes per number in the compute dtype.
        keep: whether activations are kept, and with them the weight copies that their gradients need.
        stored_rounded: whether weights are stored in the compute dtype, so that there are no copies.
    """
    layer, embedding = shape.layer_matrices, shape.embedding
    if strategy == "zero3":
        # Layer matrices are gathered in the compute dtype; embedding and head, which are no `Linear`, in float32.
        live, reduced_at_once = _zero3_numbers()
        whole = size * min(live, shape.layers * layer + 2 * embedding) + (4 - size) * embedding
        return whole + reduced_at_once * (size + (4 if size < 4 else 0))
    copies = 0 if stored_rounded or size == 4 else size * layer * (shape.layers if keep else 1)
    if strategy == "fsdp2":
        # Two gathered layers (the current and the next) and one gradient; embedding and head stay gathered throughout.
        return 4 * (3 * layer + 2 * embedding) + copies
    return copies


@functools.cache
def _zero3_numbers() -> tuple[int, int]:
    """Of config/accelerate/zero3.yaml: the most weights gathered at once, and gradients per reduction bucket."""
    options = yaml.safe_load(ZERO3.read_text())["zero_optimization"]
    return options["stage3_max_live_parameters"], options["reduce_bucket_size"]
