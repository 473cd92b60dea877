"""Measures peak memory of forward and backward passes under FakeTensorMode: tensors have sizes but no data.

That way the full Llama-3-8B fits on any machine. A GPU's kernels and tile sizes replace the CPU's.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

import rlhf.logprobs.head
import rlhf.tokens.packed_attention
from rlhf.base.settings import Precision
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.responses import ResponseLogprobs, autocast, checkpoint_activations
from rlhf.machine.model_shapes import ModelShape
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack, PromptGroup
from rlhf.training.adapters import add_adapters
from rlhf.training.settings import LoraSettings
from small_models import CPU

PROMPT, RESPONSE = 170, 410
"""Mean lengths of UltraFeedback in tokens."""


class LiveBytes(TorchDispatchMode):
    """Tracks the total size of all tensor storages created within it and not yet freed."""

    def __init__(self, *there_already: torch.Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()
        self._count(there_already)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self._count(tree_leaves(result))
        return result

    def _count(self, results: Iterable[object]) -> None:
        for tensor in results:
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)

    def _freed(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.now -= size


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Flash attention's kernel, and logits of the whole vocabulary at once."""
    with (
        mock.patch.object(rlhf.logprobs.head, "CPU_TILE_VOCABULARY", 10**9),
        mock.patch.object(
            rlhf.tokens.packed_attention, "attend_by_segments", rlhf.tokens.packed_attention.attend_by_flash
        ),
    ):
        yield


def groups(tokens: int) -> list[PromptGroup]:
    """Pairs with UltraFeedback's mean lengths, about `tokens` tokens in total."""
    count = max(1, round(tokens / (PROMPT + 2 * RESPONSE)))
    return [PromptGroup([1] * PROMPT, [[1] * RESPONSE, [1] * RESPONSE])] * count


def policy_of(shape: ModelShape, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
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
    torch.set_default_dtype(dtype)
    try:
        return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def peak_of_training(
    shape: ModelShape, pack_groups: list[PromptGroup], precision: Precision, *, recompute: bool, lora: int | None
) -> tuple[int, int]:
    """Peak bytes of the second forward and backward pass, with gradients and moments allocated, and its tokens."""
    with as_on_a_gpu(), FakeTensorMode(allow_non_fake_inputs=True):
        policy = policy_of(shape)
        if lora is not None:
            with mock.patch.object(nn.Module, "to", lambda module, *_, **__: module):  # fake weights cannot move
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
        moments = [value for state in optimizer.state.values() for value in state.values()]
        with LiveBytes(*model.parameters(), *(p.grad for p in trained), *moments) as live:
            with autocast(precision, CPU):
                logprobs = model(pack)
            logprobs.sum().backward()
        return live.peak, pack.input_ids.numel()


def peak_of_forward(shape: ModelShape, pack_groups: list[PromptGroup], precision: Precision) -> tuple[int, int]:
    """Peak bytes of a forward pass as in `compute_logprobs`, and its tokens."""
    with as_on_a_gpu(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        policy = policy_of(shape).requires_grad_(False)
        store_frozen_matrices(policy, precision)
        model = ResponseLogprobs(policy, 0.8)
        pack = Pack(pack_groups, CPU)
        with LiveBytes(*model.parameters()) as live, autocast(precision, CPU):
            model(pack)
        return live.peak, pack.input_ids.numel()


def peak_of_scoring(shape: ModelShape, pack_groups: list[PromptGroup], precision: Precision) -> tuple[int, int]:
    """Peak bytes of a forward pass as in `score_responses`, and its tokens."""
    with as_on_a_gpu(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        decoder = policy_of(shape, getattr(torch, precision)).get_decoder()
        use_packed_attention(decoder)
        pack = Pack(pack_groups, CPU)
        with LiveBytes(*decoder.parameters()) as live:
            packed_hidden_states(decoder, pack)
        return live.peak, pack.input_ids.numel()
