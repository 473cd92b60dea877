"""Estimates of GPU time, from tokens, operations per token, and the fraction of peak throughput that programs reach.

Until jobs have been measured, published figures are assumed:

- sampling: vLLM, an 8B model in bfloat16, about 12,500 tokens per second on one H100 (third parties);
- training all weights: 22.5 % of peak (packed DPO of a 7B model on H100s, open-instruct #1466);
- training adapters: 402 of 989 TFLOP/s (fine-tuning of an 8B model with LoRA on one H100, NeMo Automodel);
- forward passes alone (scoring, log-probabilities): nothing is published, so the fraction for adapters is used.
"""

from __future__ import annotations

from rlhf.machine.memory import TrainingSetup
from rlhf.machine.model_shapes import ModelShape

SAMPLED_PER_SECOND = 12_500.0
"""Tokens that vLLM samples on one H100 from a model of `SAMPLED_PARAMETERS` weights."""
SAMPLED_PARAMETERS = 8.03e9
SAMPLING_TFLOPS = 989.0
"""Peak TFLOP/s of that GPU; sampling on others is scaled by theirs."""
TRAINING_SHARE = 0.225
ADAPTER_SHARE = 402 / 989
FORWARD_SHARE = ADAPTER_SHARE
START_SECONDS = 120.0
"""Time to start a job and load its model."""


def sampling_seconds(shape: ModelShape, tokens: float, gpus: int, tflops: float) -> float:
    """Seconds to sample `tokens` tokens on the GPUs of a job."""
    rate = SAMPLED_PER_SECOND * SAMPLED_PARAMETERS / shape.parameters * tflops / SAMPLING_TFLOPS
    return START_SECONDS + tokens / (rate * gpus)


def forward_seconds(shape: ModelShape, tokens: float, head_tokens: float, tflops: float) -> float:
    """Seconds of a job with one forward pass over `tokens` on one GPU; `head_tokens` of them reach the output head."""
    return START_SECONDS + _forward(shape, tokens, head_tokens, tflops)


def _forward(shape: ModelShape, tokens: float, head_tokens: float, tflops: float) -> float:
    return 2 * _products(shape, tokens, head_tokens) / (tflops * 1e12 * FORWARD_SHARE)


def training_seconds(
    shape: ModelShape, setup: TrainingSetup, tokens: float, head_tokens: float, gpus: int, tflops: float
) -> float:
    """Seconds of a training with forward and backward passes over `tokens` on all its GPUs."""
    return START_SECONDS + _forward_and_backward(shape, setup, tokens, head_tokens, gpus * tflops)


def step_seconds(
    shape: ModelShape, setup: TrainingSetup, tokens: float, validation_tokens: float, tflops: float
) -> float:
    """Seconds of an optimizer step followed by a validation, with one GPU per process.

    Args:
        tokens: tokens in a batch; all are assumed to reach the head, as most do.
        validation_tokens: tokens in a validation.
        tflops: peak TFLOP/s of one GPU.
    """
    step = _forward_and_backward(shape, setup, tokens, tokens, setup.processes * tflops)
    return step + _forward(shape, validation_tokens, validation_tokens, setup.processes * tflops)


def _forward_and_backward(
    shape: ModelShape, setup: TrainingSetup, tokens: float, head_tokens: float, tflops: float
) -> float:
    """A backward pass costs two forward passes, or one if matrices are frozen; recomputation costs one more."""
    lora = setup.lora_rank is not None
    passes = (2 if lora else 3) + (1 if setup.activations == "recompute" else 0)
    share = ADAPTER_SHARE if lora else TRAINING_SHARE
    operations = 2 * passes * _products(shape, tokens, head_tokens)
    return operations / (tflops * 1e12 * share)


def _products(shape: ModelShape, tokens: float, head_tokens: float) -> float:
    """Multiplications of weights and tokens; attention scores are not counted."""
    return shape.layers * shape.layer_matrices * tokens + shape.embedding * head_tokens
