"""All the way from log-probabilities to the flash kernel, on the CPU: the kernel is replaced by plain torch."""

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from rlhf.logprobs.responses import ResponseLogprobs, autocast, checkpoint_activations
from rlhf.tokens.flash_attention import attend_by_flash, flash_can_attend, flash_runs_on
from rlhf.tokens.packing import Pack, PromptGroup
from rlhf.tokens.segment_attention import AttentionOptions, attend_by_segments
from small_models import CPU, random_ids
from varlen_reference import flash_on_the_cpu

LAYERS = 3
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.2,
}
POLICIES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "mistral with a sliding window": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=5)),
}


def pack() -> Pack:
    generator = torch.Generator().manual_seed(1)
    sizes = [(7, [3, 12, 1]), (1, [9]), (15, [2, 8])]
    return Pack([PromptGroup(random_ids(p, generator), [random_ids(r, generator) for r in rs]) for p, rs in sizes], CPU)


def values_and_gradient(name: str, recompute: bool, precision: str = "bfloat16") -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    policy = POLICIES[name]().eval()
    if recompute:
        checkpoint_activations(policy)
    model = ResponseLogprobs(policy, 0.8)
    with autocast(precision, CPU):
        values = model(pack())
    (values * torch.linspace(-1, 1, len(values))).sum().backward()
    return values.detach(), torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("recompute", [False, True])
def test_under_autocast_every_layer_reaches_the_kernel_and_none_sdpa(name: str, recompute: bool) -> None:
    exact, exact_gradient = values_and_gradient(name, recompute, "float32")
    by_segments, gradient_by_segments = values_and_gradient(name, recompute)
    with flash_on_the_cpu() as kernel:
        values, gradient = values_and_gradient(name, recompute)
    assert kernel.calls == LAYERS * (2 if recompute else 1)
    # As far from float32 as the attention by segments, which is bfloat16's rounding.
    assert relative_difference(values, exact) < 2 * relative_difference(by_segments, exact) < 1e-2
    error = relative_difference(gradient_by_segments, exact_gradient)
    assert relative_difference(gradient, exact_gradient) < 2 * error < 0.1
    torch.testing.assert_close(values, by_segments, rtol=5e-3, atol=0.1)


def test_without_a_gpu_and_in_float32_attention_is_by_segments() -> None:
    expected = values_and_gradient("llama", recompute=False, precision="float32")
    assert not flash_runs_on(CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlhf.tokens.flash_attention.flash_runs_on", lambda device: True)
        found = values_and_gradient("llama", recompute=False, precision="float32")
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def keyword(name: str, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default)


GIVEN = [
    Parameter(name, Parameter.POSITIONAL_OR_KEYWORD)
    for name in ("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k")
]
SIGNATURES = {
    "2.10": Signature([*GIVEN, Parameter("is_causal", Parameter.POSITIONAL_OR_KEYWORD, default=False)]),
    "2.11": Signature([*GIVEN, keyword("scale", None), keyword("window_size", (-1, -1))]),
    "2.12": Signature([*GIVEN, keyword("scale", None), keyword("window_size", (-1, -1)), keyword("enable_gqa", False)]),
}


@pytest.mark.parametrize("torch_version", SIGNATURES)
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("scaling", [16**-0.5, 0.3])
def test_older_kernels_get_supported_keywords(torch_version: str, window: int | None, scaling: float) -> None:
    given = pack()
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(heads, given.input_ids.numel(), 16, generator=generator).bfloat16() for heads in (4, 2, 2)
    )
    options = AttentionOptions(scaling, window)
    expected = attend_by_segments(query.float(), key.float(), value.float(), given, options)
    with flash_on_the_cpu(SIGNATURES[torch_version]) as kernel:
        can = flash_can_attend(query, key, value, options)
        assert can == (torch_version != "2.10" or (window is None and scaling == 16**-0.5))
        if can:
            found = attend_by_flash(query, key, value, given, options)
            torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)
    assert kernel.calls == int(can)


def test_this_torch_has_the_newest_of_these_signatures() -> None:
    from torch.nn.attention.varlen import varlen_attn

    own = inspect.signature(varlen_attn).parameters
    newest = SIGNATURES["2.12"].parameters
    assert [own[name].kind for name in newest] == [parameter.kind for parameter in newest.values()]
    assert [own[name].default for name in newest] == [parameter.default for parameter in newest.values()]


@pytest.mark.parametrize(
    ("widths", "dtype", "softcap"),
    [
        ((16, 16), torch.float32, None),
        ((264, 264), torch.bfloat16, None),
        ((20, 20), torch.bfloat16, None),
        ((24, 16), torch.bfloat16, None),
        ((16, 16), torch.bfloat16, 50.0),
    ],
)
def test_what_the_kernel_cannot_do_is_done_by_segments(
    widths: tuple[int, int], dtype: torch.dtype, softcap: float | None
) -> None:
    query, value = (torch.zeros(2, 5, width, dtype=dtype) for width in widths)
    plain = torch.zeros(2, 5, 16, dtype=torch.bfloat16)
    with flash_on_the_cpu():
        assert flash_can_attend(plain, plain, plain, AttentionOptions(0.25))
        assert not flash_can_attend(query, query, value, AttentionOptions(0.25, softcap=softcap))
