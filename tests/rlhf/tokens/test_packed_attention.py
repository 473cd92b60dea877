"""Decoders on packs, against the same decoders on single sequences with transformers' own attention."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BloomConfig,
    BloomModel,
    Gemma2Config,
    Gemma2Model,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Model,
)

from rlhf.base.errors import UserError
from rlhf.tokens.flash_attention import attend_by_flash
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack, PromptGroup
from rlhf.tokens.segment_attention import AttentionOptions, attend_by_segments
from small_models import CPU, random_ids

COMMON = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.25,
}
DECODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaModel(LlamaConfig(**COMMON)),
    "qwen2": lambda: Qwen2Model(Qwen2Config(**COMMON)),
    "mistral with a sliding window": lambda: MistralModel(MistralConfig(**COMMON, sliding_window=6)),
    "gemma 2 with caps": lambda: Gemma2Model(
        Gemma2Config(**COMMON, head_dim=8, sliding_window=5, attn_logit_softcapping=2.0, query_pre_attn_scalar=8)
    ),
}


def decoder(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return DECODERS[name]().eval()


def groups(seed: int = 1) -> list[PromptGroup]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(7, [3, 12, 1]), (1, [9]), (15, [2, 2])]
    return [PromptGroup(random_ids(p, generator), [random_ids(r, generator) for r in rs]) for p, rs in sizes]


def alone(model: PreTrainedModel, given: list[PromptGroup]) -> torch.Tensor:
    """Hidden states of each prompt, then of each of its responses, computed one sequence at a time."""
    model.set_attn_implementation("eager")
    rows = []
    for group in given:
        rows.append(model(torch.tensor([group.prompt])).last_hidden_state[0])
        for response in group.responses:
            rows.append(model(torch.tensor([group.prompt + response])).last_hidden_state[0, len(group.prompt) :])
    return torch.cat(rows)


def packed(model: PreTrainedModel, given: list[PromptGroup]) -> torch.Tensor:
    use_packed_attention(model)
    return packed_hidden_states(model, Pack(given, CPU))


@pytest.mark.parametrize("name", DECODERS)
@torch.inference_mode()
def test_a_pack_gives_the_hidden_states_of_its_sequences(name: str) -> None:
    model = decoder(name)
    expected = alone(model, groups())
    torch.testing.assert_close(packed(model, groups()), expected, atol=2e-5, rtol=1e-4)
    assert float(expected.std()) > 0.1


@torch.inference_mode()
def test_the_window_and_the_caps_of_these_models_matter() -> None:
    """Otherwise the test above could not tell whether they are applied."""
    for name, changes in (
        ("mistral with a sliding window", {"sliding_window": None}),
        ("gemma 2 with caps", {"attn_logit_softcapping": None}),
    ):
        model, other = decoder(name), decoder(name)
        for key, value in changes.items():
            for module in other.modules():
                if hasattr(module, key):
                    setattr(module, key, value)
            setattr(other.config, key, value)
        assert float((alone(model, groups()) - alone(other, groups())).abs().max()) > 1e-2


@torch.inference_mode()
def test_sequences_in_a_pack_do_not_see_each_other() -> None:
    model = decoder("llama")
    before, changed = groups(), groups()
    changed[0].responses[1][:] = [63] * 12
    changed[2].prompt[3] = 62
    a, b = packed(model, before), packed(model, changed)
    pack = Pack(before, CPU)
    touched = torch.zeros(len(a), dtype=torch.bool)
    touched[pack.responses[1].start : pack.responses[1].stop] = True
    touched[pack.responses[3].stop + 3 :] = True
    torch.testing.assert_close(a[~touched], b[~touched], atol=0, rtol=0)
    assert bool(((a - b).abs().amax(-1) > 1e-3)[touched].all())


def test_gradients_are_those_of_single_sequences() -> None:
    weight = torch.randn(63, 32, generator=torch.Generator().manual_seed(3))
    gradients = []
    for compute in (alone, packed):
        model = decoder("llama")
        hidden = compute(model, groups())
        (hidden * weight[: len(hidden)]).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_attention_that_packs_do_not_support_is_refused() -> None:
    model = decoder("llama")
    for layer in model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(UserError, match="dropout"):
        packed(model.train(), groups())
    encoder = BertModel(BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4))
    with pytest.raises(UserError, match="not causal"):
        packed(encoder.eval(), groups())
    with pytest.raises(UserError, match="BloomModel"):
        packed(BloomModel(BloomConfig(vocab_size=64, hidden_size=32, n_layer=1, n_head=4)), groups())


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 6])
def test_flash_attention_is_the_same_attention(window: int | None) -> None:
    device = torch.device("cuda")
    pack = Pack(groups(), device)
    generator = torch.Generator(device).manual_seed(0)
    query, key, value = (
        torch.randn(heads, pack.input_ids.numel(), 64, device=device, dtype=torch.bfloat16, generator=generator)
        for heads in (8, 2, 2)
    )
    options = AttentionOptions(scaling=0.125, window=window)
    expected = attend_by_segments(query.float(), key.float(), value.float(), pack, options)
    torch.testing.assert_close(
        attend_by_flash(query, key, value, pack, options).float(), expected, atol=2e-2, rtol=2e-2
    )
