"""What fraction of the GPUs' peak matrix throughput a training achieves."""

from __future__ import annotations

import time

import torch
from transformers import PreTrainedModel

PEAK_RATES = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
}
"""Dense bfloat16 operations per second by a part of the device's name, from the vendors' data sheets."""


def peak_rate(device: torch.device) -> float | None:
    """Peak bfloat16 operations per second of the device; None if unknown."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for part, rate in PEAK_RATES.items() if part in name), None)


class ComputeMeter:
    """Counts the operations of training steps, and relates them to the GPUs' peak throughput.

    It counts matrix products with weights only, 2 operations per weight and token: forward, backward to the inputs, and
    backward to the weights unless only adapters are trained. Attention scores are left out.

    Args:
        policy: not yet sharded.
    """

    def __init__(self, policy: PreTrainedModel, device: torch.device, processes: int, *, adapters: bool) -> None:
        self.per_weight = 4 if adapters else 6
        self.layers = sum(map(_elements, policy.get_decoder().parameters()))
        self.layers -= sum(map(_elements, policy.get_input_embeddings().parameters()))
        self.head = _elements(policy.get_output_embeddings().weight)
        peak = peak_rate(device)
        self.peak = None if peak is None else peak * processes
        self.operations = 0.0
        self._start = time.monotonic()

    def count(self, tokens: int, response_tokens: int) -> dict[str, str]:
        """Add a step, of which only response tokens reach the head; returns the fraction so far, for `Progress`."""
        self.operations += self.per_weight * (self.layers * tokens + self.head * response_tokens)
        if self.peak is None:
            return {}
        return {"of peak": f"{self.operations / (time.monotonic() - self._start) / self.peak:.0%}"}


def _elements(parameter: torch.nn.Parameter) -> int:
    """Elements of the full tensor: DeepSpeed replaces the tensors that it shards by empty ones."""
    return getattr(parameter, "ds_numel", parameter.numel())
