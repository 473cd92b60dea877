"""How long a GPU takes, by arithmetic: tokens, operations per token, and the share of its rate that programs reach.

What is assumed are published figures of others, until a job of one's own has run:

- sampling: vLLM, an 8B model in bfloat16, about 12,500 tokens per second on one H100 (third parties);
- training all weights: 22.5 % of the matrix rate (DPO of a 7B model in packs on H100s, open-instruct #1466);
- training adapters: 402 of 989 TFLOP/s (fine-tuning of an 8B model with LoRA on one H100, NeMo Automodel);
- forward passes alone (scoring, log-probabilities): nothing is published; the share of adapters is taken.
"""

from __future__ import annotations

from rlhf.machine.memory import TrainingSetup
from rlhf.machine.model_shapes import ModelShape

SAMPLED_PER_SECOND = 12_500.0
"""Tokens that vLLM samples on one H100 from a model of `SAMPLED_PARAMETERS` weights."""
SAMPLED_PARAMETERS = 8.03e9
SAMPLING_TFLOPS = 989.0
"""Matrix rate of that GPU: another one samples in proportion."""
TRAINING_SHARE = 0.225
ADAPTER_SHARE = 402 / 989
FORWARD_SHARE = ADAPTER_SHARE
START_SECONDS = 120.0
"""To start a job and load its model."""


def sampling_seconds(shape: ModelShape, tokens: float, gpus: int, tflops: float) -> float:
    """Time to sample some tokens on the GPUs of a job."""
    rate = SAMPLED_PER_SECOND * SAMPLED_PARAMETERS / shape.parameters * tflops / SAMPLING_TFLOPS
    return START_SECONDS + tokens / (rate * gpus)


def forward_seconds(shape: ModelShape, tokens: float, head_tokens: float, tflops: float) -> float:
    """Time of a job that makes a forward pass on one GPU over some tokens, a part of which reach the head."""
    return START_SECONDS + _forward(shape, tokens, head_tokens, tflops)


def _forward(shape: ModelShape, tokens: float, head_tokens: float, tflops: float) -> float:
    return 2 * _products(shape, tokens, head_tokens) / (tflops * 1e12 * FORWARD_SHARE)


def training_seconds(
    shape: ModelShape, setup: TrainingSetup, tokens: float, head_tokens: float, gpus: int, tflops: float
) -> float:
    """Time of a training that makes forward and backward passes over some tokens on all its GPUs."""
    return START_SECONDS + _forward_and_backward(shape, setup, tokens, head_tokens, gpus * tflops)


def step_seconds(
    shape: ModelShape, setup: TrainingSetup, tokens: float, validation_tokens: float, tflops: float
) -> float:
    """Time of an optimizer step that a validation follows, on all GPUs of a training, one per process.

    Args:
        tokens: of a batch; all are taken to reach the head, as few do not.
        validation_tokens: likewise.
        tflops: of one GPU.
    """
    step = _forward_and_backward(shape, setup, tokens, tokens, setup.processes * tflops)
    return step + _forward(shape, validation_tokens, validation_tokens, setup.processes * tflops)


def _forward_and_backward(
    shape: ModelShape, setup: TrainingSetup, tokens: float, head_tokens: float, tflops: float
) -> float:
    """Backward is twice a forward pass, once where matrices are not trained; a recomputed layer is one more."""
    lora = setup.lora_rank is not None
    passes = (2 if lora else 3) + (1 if setup.activations == "recompute" else 0)
    share = ADAPTER_SHARE if lora else TRAINING_SHARE
    operations = 2 * passes * _products(shape, tokens, head_tokens)
    return operations / (tflops * 1e12 * share)


def _products(shape: ModelShape, tokens: float, head_tokens: float) -> float:
    """Products of weights and tokens; attention's own are left out."""
    return shape.layers * shape.layer_matrices * tokens + shape.embedding * head_tokens
