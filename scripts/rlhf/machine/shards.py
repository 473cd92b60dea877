"""What strategies share between processes, and what each process gathers of the others' shares."""

from __future__ import annotations

from rlhf.hardware import Strategy
from rlhf.machine.model_shapes import ModelShape

ZERO3_LIVE_WEIGHTS = 1_000_000_000
"""`stage3_max_live_parameters`: weights that are whole at once, at most."""
ZERO3_REDUCED_AT_ONCE = 200_000_000
"""`reduce_bucket_size`: gradients that travel together, in one buffer of bfloat16 and one of float32."""


def shards(strategy: Strategy, processes: int) -> int:
    """Into how many pieces weights, gradients and moments are cut."""
    return processes if strategy in ("zero3", "fsdp2") else 1


def gathered_bytes(shape: ModelShape, strategy: Strategy, size: int, *, keep: bool, lora: bool) -> int:
    """Whole weights and rounded copies of weights in a process, and the buffers of the communication.

    Args:
        size: bytes of a number of the computation.
        keep: whether activations are kept, and with them the rounded copies that their gradients need.
        lora: whether the weights are frozen: then they are stored rounded, and have no copies.
    """
    layer, embedding = shape.layer_matrices, shape.embedding
    if strategy == "zero3":
        # Matrices of layers travel rounded; embedding and head, which are no `Linear`, as they are.
        live = min(ZERO3_LIVE_WEIGHTS, shape.layers * layer + 2 * embedding)
        whole = size * live + (4 - size) * embedding
        return whole + ZERO3_REDUCED_AT_ONCE * (size + (4 if size < 4 else 0))
    copies = 0 if lora or size == 4 else size * layer * (shape.layers if keep else 1)
    if strategy == "fsdp2":
        # Two layers, one at work and the next, and one's gradient; embedding and head stay whole between them.
        return 4 * (3 * layer + 2 * embedding) + copies
    return copies
