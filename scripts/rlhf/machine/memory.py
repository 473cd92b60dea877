"""Estimates of peak GPU memory, in bytes, for training, log-probabilities, scoring and sampling.

They assume a Llama-like decoder on packs (see `rlhf.tokens.packing`), flash attention, and an output head computed in
tiles (see `token_logprobs`). The coefficients count, per token, what autograd saves and what a layer's backward pass
holds in addition; tests compare them with torch's own accounting under FakeTensorMode, for the full Llama-3-8B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rlhf.base.settings import Precision
from rlhf.machine.choices import Activations, Strategy
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.shards import gathered_bytes, shards

SPARE = 0.1
"""Fraction of GPU memory left free for fragmentation, communication buffers, and errors of these estimates."""
HEAD_TILE_TOKENS = 1024
"""Tokens whose logits are in memory at once: `TILE_TOKENS` of `token_logprobs`."""
KEYS_PER_TOKEN = 1.35
"""Stored keys per token in attention: more than one, since responses repeat the keys of their shared prompt. The value
is for prompts of 170 and responses of 410 tokens, the means of UltraFeedback."""
ROUNDS_FROZEN_WEIGHTS: tuple[Strategy, ...] = ("single", "ddp")
"""Strategies that store frozen matrices in the compute dtype (see `frozen_weights`)."""
MOST_TOKENS = 65_536
"""Upper bound for `auto` budgets: larger packs are not faster."""
STEP = 256
"""`auto` budgets are a multiple of this."""


@dataclass(frozen=True)
class TrainingSetup:
    """The settings of a training that determine its memory."""

    strategy: Strategy
    processes: int
    activations: Activations
    precision: Precision
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    lora_rank: int | None = None


@dataclass(frozen=True)
class MemoryUse:
    """Peak memory of one GPU, in bytes."""

    weights: int
    gradients: int = 0
    moments: int = 0
    """Optimizer state."""
    gathered: int = 0
    """Weights gathered from shards, copies of weights in the compute dtype, and communication buffers."""
    activations: int = 0
    """Activations of the forward and backward passes, and logits of the head's tiles."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.gathered + self.activations


def training_memory(shape: ModelShape, setup: TrainingSetup, tokens: int) -> MemoryUse:
    """Memory of one `train_policy` process whose largest pack has `tokens` tokens."""
    size = _bytes(setup.precision)
    trained = trained_weights(shape, setup)
    shared = shards(setup.strategy, setup.processes)
    rounded = setup.lora_rank is not None and setup.strategy in ROUNDS_FROZEN_WEIGHTS
    return MemoryUse(
        weights=stored_weights(shape, setup) // shared,
        gradients=int(4 * trained / shared) + (4 * trained if setup.strategy == "ddp" else 0),  # plus DDP's buckets
        moments=stored_moments(shape, setup) // shared,
        gathered=gathered_bytes(shape, setup.strategy, size, keep=setup.activations == "keep", stored_rounded=rounded),
        activations=int(
            max(
                _head_backward(shape, setup, tokens),
                _layer_backward(shape, setup, tokens),
                _embedding_backward(shape) if setup.lora_rank is None else 0,
            )
        ),
    )


def trained_weights(shape: ModelShape, setup: TrainingSetup) -> int:
    """Number of trained weights: all, or only the adapters."""
    return shape.parameters if setup.lora_rank is None else shape.adapters(setup.lora_rank)


def stored_weights(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of all weights, summed over the processes' shards; trained weights are float32."""
    if setup.lora_rank is None:
        frozen = 0
    elif setup.strategy in ROUNDS_FROZEN_WEIGHTS:
        frozen = _frozen_bytes(shape, _bytes(setup.precision))
    else:
        frozen = 4 * shape.parameters
    return 4 * trained_weights(shape, setup) + frozen


def stored_moments(shape: ModelShape, setup: TrainingSetup) -> int:
    """Bytes of the optimizer state, summed over the processes' shards: two moments per trained weight."""
    per_weight = 8.0 if setup.optimizer == "adamw" else 2 + 8 / 256  # 8 bits each, and two scales per block of 256
    return int(per_weight * trained_weights(shape, setup))


def logprob_memory(shape: ModelShape, precision: Precision, tokens: int) -> MemoryUse:
    """Memory of a `compute_logprobs` job: no gradients, frozen weights."""
    size = _bytes(precision)
    layer = max(_attention_forward(shape, size), _network_forward(shape, size)) * tokens
    rounded = 2 * shape.embedding if shape.tied and size == 2 else 0
    head = _two_tiles(shape, size, tokens) + rounded + shape.hidden * (4 + 4 + size) * tokens
    return MemoryUse(weights=_frozen_bytes(shape, size), activations=int(max(layer, head)))


def scoring_memory(shape: ModelShape, precision: Precision, tokens: int) -> MemoryUse:
    """Memory of a `score_responses` job: the decoder in its precision; reward heads are negligible."""
    size = _bytes(precision)
    attention = 3 * size * shape.hidden + (12 + size) * shape.queries + 8 * shape.keys
    network = 3 * size * shape.hidden + 3 * size * shape.intermediate
    norm = (2 * size + 12) * shape.hidden
    return MemoryUse(weights=size * shape.decoder, activations=max(attention, network, norm) * tokens)


def sampling_memory(shape: ModelShape, precision: Precision, gpus: int, tokens: int) -> MemoryUse:
    """The least that vLLM starts with: the weights, and the KV cache of one sequence of `tokens` tokens.

    It uses the rest of its share of the GPU as KV cache for more sequences.
    """
    size = _bytes(precision)
    cache = 2 * size * shape.layers * shape.keys * tokens
    return MemoryUse(weights=size * shape.parameters // gpus, activations=cache // gpus + 2**30)


def usable(gpu_bytes: float) -> float:
    """Bytes of a GPU's memory that a job may plan to use."""
    return gpu_bytes * (1 - SPARE)


def largest_budget(memory: Callable[[int], MemoryUse], limit: float, longest: int) -> int | None:
    """The largest token budget, a multiple of `STEP`, whose memory is at most `limit` bytes.

    Args:
        longest: tokens of the longest pair or conversation, which is never split; the budget is at least this.

    Returns:
        None if not even `longest` tokens fit.
    """
    if memory(longest).total > limit:
        return None
    low, high = 0, MOST_TOKENS // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if memory(middle * STEP).total <= limit:
            low = middle
        else:
            high = middle - 1
    return max(low * STEP, longest)


def kept_per_token(shape: ModelShape, precision: Precision, *, lora_rank: int | None = None) -> float:
    """Bytes per token that autograd saves in one layer: its input, the inputs of matrices and norms, and attention.

    Under autocast every matrix saves its own bfloat16 copy of its input. A frozen matrix does not need its input for
    the gradient, but its adapter does.
    """
    width, inner, queries = shape.hidden, shape.intermediate, shape.queries
    if precision == "bfloat16" and lora_rank is None:
        own = 26 * width + 4 * queries + 8 * inner
    elif precision == "bfloat16":
        own = 18 * width + 6 * queries + 8 * inner
    else:
        own = (24 if lora_rank is None else 16) * width + 8 * queries + 16 * inner
    keys_and_values = 2 * _bytes(precision) * shape.keys * KEYS_PER_TOKEN
    return own + keys_and_values + 4 * shape.heads + 28 * (lora_rank or 0)


def _layer_backward(shape: ModelShape, setup: TrainingSetup, tokens: int) -> float:
    """Peak in the backward pass of the last layer, which runs first: all saved activations and its gradients."""
    size = _bytes(setup.precision)
    if size == 2 and setup.lora_rank is not None:
        besides = 6 * shape.intermediate + 14 * shape.hidden
    else:
        besides = 2 * size * shape.intermediate + 4 * shape.hidden
    of_matrix = 0 if setup.lora_rank is not None else (4 if size == 4 else 6) * shape.hidden * shape.intermediate
    of_head = 4 * shape.embedding if shape.tied and setup.lora_rank is None else 0  # until the embedding's
    return _kept(shape, setup, tokens, layers_at_once=1) + besides * tokens + of_matrix + of_head


def _head_backward(shape: ModelShape, setup: TrainingSetup, tokens: int) -> float:
    """Peak in the backward pass of the head: all saved activations, the last norm's, and the head's gradients."""
    size = _bytes(setup.precision)
    frozen = setup.lora_rank is not None
    last_norm = (4 if frozen else 8) * shape.hidden * tokens
    inputs = (4 + 4 + 2 * size) * shape.hidden * tokens
    rounded = 2 * shape.embedding if size == 2 and (shape.tied or not frozen) else 0
    product = 2 * shape.embedding if size == 2 and not frozen else 0
    gradient = 0 if frozen else 4 * shape.embedding
    one_tile = min(HEAD_TILE_TOKENS, tokens) * shape.vocabulary * (6 if size == 2 else 4)
    tiles = max(product + one_tile, _two_tiles(shape, size, tokens, backward=True))
    return _kept(shape, setup, tokens, layers_at_once=0) + last_norm + inputs + rounded + gradient + tiles


def _kept(shape: ModelShape, setup: TrainingSetup, tokens: int, layers_at_once: int) -> float:
    """Saved activations of all layers. With recomputation, all keep their input and `layers_at_once` everything."""
    whole = kept_per_token(shape, setup.precision, lora_rank=setup.lora_rank) * tokens
    if setup.activations == "keep":
        return shape.layers * whole
    return (shape.layers - layers_at_once) * 4 * shape.hidden * tokens + layers_at_once * whole


def _embedding_backward(shape: ModelShape) -> int:
    """Peak in the backward pass of the embedding: its gradient, and if tied, also the head's and their sum."""
    return 4 * shape.embedding * (3 if shape.tied else 1)


def _two_tiles(shape: ModelShape, size: int, tokens: int, *, backward: bool = False) -> int:
    """Logits of a tile and of the next one being computed, if there are several, and their bfloat16 copies."""
    logits = min(HEAD_TILE_TOKENS, tokens) * shape.vocabulary
    copies = 0 if size == 4 else 2
    if tokens <= HEAD_TILE_TOKENS:
        return logits * (4 + copies)
    return logits * (8 + copies * (2 if backward else 1))


def _attention_forward(shape: ModelShape, size: int) -> float:
    """Peak bytes per token in attention, where rotary embeddings are applied; no gradients."""
    keys = 8.6 if size == 2 else 12.6
    return 12 * shape.hidden + (13.6 if size == 2 else 15.6) * shape.queries + keys * shape.keys


def _network_forward(shape: ModelShape, size: int) -> float:
    """Peak bytes per token in the gated MLP; no gradients."""
    return 16 * shape.hidden + 3 * size * shape.intermediate


def _frozen_bytes(shape: ModelShape, size: int) -> int:
    """Bytes of frozen weights (see `frozen_weights`): matrices in the compute dtype, the rest float32."""
    head = 0 if shape.tied else size * shape.embedding
    return size * shape.layers * shape.layer_matrices + 4 * (shape.embedding + shape.norms) + head


def _bytes(precision: Precision) -> int:
    return 2 if precision == "bfloat16" else 4
