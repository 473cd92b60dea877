"""Batches of token sequences of similar length, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def pad_right(sequences: Sequence[list[int]], device: torch.device) -> torch.Tensor:
    """Token ids, int64 (sequences, longest). With causal attention what is behind a sequence does not reach it."""
    length = max(len(sequence) for sequence in sequences)
    return torch.tensor([sequence + [0] * (length - len(sequence)) for sequence in sequences]).to(device)


def batches_by_length(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices grouped so that a group's size times its longest length fits the budget; a single one always does."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
