"""Peak memory of a training's passes under FakeTensorMode: every tensor has a size and none has numbers.

So the full Llama-3-8B fits anywhere. What a GPU's kernel and tiles are is put in the place of the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import LlamaConfig, LlamaForCausalLM

import rlhf.packed_attention
import rlhf.token_logprobs
from rlhf.adapters import add_adapters
from rlhf.frozen_weights import store_frozen_matrices
from rlhf.machine.model_shapes import ModelShape
from rlhf.models import Precision
from rlhf.packing import Pack, PromptGroup
from rlhf.sequence_logprobs import ResponseLogprobs, autocast, checkpoint_activations
from rlhf.training import LoraSettings
from small_models import CPU

PROMPT, RESPONSE = 170, 410
"""UltraFeedback's mean lengths in tokens."""


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Flash attention's kernel, and logits of the whole vocabulary at once."""
    with (
        mock.patch.object(rlhf.token_logprobs, "CPU_TILE_VOCABULARY", 10**9),
        mock.patch.object(rlhf.packed_attention, "attend_by_segments", rlhf.packed_attention.attend_by_flash),
    ):
        yield


def groups(tokens: int) -> list[PromptGroup]:
    """Pairs of UltraFeedback's mean lengths, about so many tokens in all."""
    count = max(1, round(tokens / (PROMPT + 2 * RESPONSE)))
    return [PromptGroup([1] * PROMPT, [[1] * RESPONSE, [1] * RESPONSE])] * count


def policy_of(shape: ModelShape) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
    )
    return LlamaForCausalLM(config).eval()


def peak_of_training(
    shape: ModelShape, pack_groups: list[PromptGroup], precision: Precision, *, recompute: bool, lora: int | None
) -> tuple[int, int]:
    """Bytes at the peak of the second forward and backward pass (gradients and moments are there), and their tokens."""
    with as_on_a_gpu(), FakeTensorMode(allow_non_fake_inputs=True):
        policy = policy_of(shape)
        if lora is not None:
            add_adapters(policy, LoraSettings(rank=lora, alpha=lora))
            store_frozen_matrices(policy, precision)
        if recompute:
            checkpoint_activations(policy)
        model = ResponseLogprobs(policy, 0.8)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, foreach=False)
        pack = Pack(pack_groups, CPU)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        tracker = MemTracker()
        tracker.track_external(model, optimizer, *trained, *(p.grad for p in trained), pack.input_ids)
        with tracker:
            with autocast(precision, CPU):
                logprobs = model(pack)
            logprobs.sum().backward()
        return total(tracker), pack.input_ids.numel()


def peak_of_forward(shape: ModelShape, pack_groups: list[PromptGroup], precision: Precision) -> tuple[int, int]:
    """Bytes at the peak of a forward pass as in `compute_logprobs`, and its tokens."""
    with as_on_a_gpu(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        policy = policy_of(shape).requires_grad_(False)
        store_frozen_matrices(policy, precision)
        model = ResponseLogprobs(policy, 0.8)
        pack = Pack(pack_groups, CPU)
        tracker = MemTracker()
        tracker.track_external(model, pack.input_ids)
        with tracker, autocast(precision, CPU):
            model(pack)
        return total(tracker), pack.input_ids.numel()


def total(tracker: MemTracker) -> int:
    return sum(sizes["Total"] for sizes in tracker.get_tracker_snapshot("peak").values())
