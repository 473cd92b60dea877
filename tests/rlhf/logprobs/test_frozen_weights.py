"""Matrices that are rounded once give what autocast gives, which rounds them at every use: to the last bit."""

import pytest
import torch

from rlhf.base.settings import Precision
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.responses import ResponseLogprobs, autocast
from rlhf.tokens.packing import Pack
from rlhf.training.adapters import add_adapters
from rlhf.training.settings import LoraSettings
from small_models import CPU, random_pairs, small_llama

PACK = Pack([pair.prompt_group for pair in random_pairs(5, seed=2)], CPU)


def computed(stored: bool, precision: Precision, lora: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Log-probabilities, and the gradients of the adapters."""
    policy = small_llama().requires_grad_(False)
    if lora:
        torch.manual_seed(1)
        add_adapters(policy, LoraSettings(rank=2, alpha=4))
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    model = ResponseLogprobs(policy, 0.8)
    if stored:
        store_frozen_matrices(policy, precision)
    with autocast(precision, CPU):
        logprobs = model(PACK)
    if lora:
        logprobs.sum().backward()
    return logprobs.detach(), [p.grad for p in policy.parameters() if p.grad is not None]


@pytest.mark.parametrize("lora", [False, True], ids=["frozen", "adapters"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_values_and_gradients_are_the_same_bits(precision: Precision, lora: bool) -> None:
    expected, found = computed(False, precision, lora), computed(True, precision, lora)
    assert torch.equal(found[0], expected[0])
    assert len(found[1]) == (28 if lora else 0)
    assert all(torch.equal(a, b) for a, b in zip(found[1], expected[1], strict=True))


def test_what_autocast_does_not_round_stays_float32() -> None:
    policy = small_llama().requires_grad_(False)
    ResponseLogprobs(policy, 0.8)
    store_frozen_matrices(policy, "bfloat16")
    kept = {name.rsplit(".", 2)[-2] for name, value in policy.named_parameters() if value.dtype == torch.float32}
    assert kept == {"embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"}


def test_a_head_that_is_the_embedding_stays_float32() -> None:
    policy = small_llama().requires_grad_(False)
    policy.lm_head.weight = policy.model.embed_tokens.weight
    store_frozen_matrices(policy, "bfloat16")
    assert policy.lm_head.weight.dtype == torch.float32
    assert policy.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


def test_what_is_trained_stays_float32() -> None:
    policy = small_llama()
    store_frozen_matrices(policy, "bfloat16")
    assert {value.dtype for value in policy.parameters()} == {torch.float32}
