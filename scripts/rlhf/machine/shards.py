"""What strategies share between processes, and what each process gathers of the others' shares."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from rlhf.machine.choices import Strategy
from rlhf.machine.model_shapes import ModelShape

ZERO3 = Path(__file__).resolve().parents[3] / "config/accelerate/zero3.yaml"


def shards(strategy: Strategy, processes: int) -> int:
    """Into how many pieces weights, gradients and moments are cut."""
    return processes if strategy in ("zero3", "fsdp2") else 1


def gathered_bytes(shape: ModelShape, strategy: Strategy, size: int, *, keep: bool, stored_rounded: bool) -> int:
    """Whole weights and rounded copies of weights in a process, and the buffers of the communication.

    Args:
        size: bytes of a number of the computation.
        keep: whether activations are kept, and with them the rounded copies that their gradients need.
        stored_rounded: whether the weights are stored rounded, and have no copies.
    """
    layer, embedding = shape.layer_matrices, shape.embedding
    if strategy == "zero3":
        # Matrices of layers travel rounded; embedding and head, which are no `Linear`, as they are.
        live, reduced_at_once = _zero3_numbers()
        whole = size * min(live, shape.layers * layer + 2 * embedding) + (4 - size) * embedding
        return whole + reduced_at_once * (size + (4 if size < 4 else 0))
    copies = 0 if stored_rounded or size == 4 else size * layer * (shape.layers if keep else 1)
    if strategy == "fsdp2":
        # Two layers, one at work and the next, and one's gradient; embedding and head stay whole between them.
        return 4 * (3 * layer + 2 * embedding) + copies
    return copies


@functools.cache
def _zero3_numbers() -> tuple[int, int]:
    """Weights that DeepSpeed has whole at most, and gradients that travel together: in a buffer for each type."""
    options = yaml.safe_load(ZERO3.read_text())["zero_optimization"]
    return options["stage3_max_live_parameters"], options["reduce_bucket_size"]
