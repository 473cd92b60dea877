"""Models that packs would silently break are refused when they are loaded, and only those."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MiniMaxConfig,
    MiniMaxForCausalLM,
    MiniMaxForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs, checked_logprobs, checkpoint_activations
from rlhf.rewards.kinds.sequence_classification import SequenceClassificationSettings
from rlhf.tokens.pack_check import check_decoder
from small_models import CPU, run_program
from small_tokenizers import small_tokenizer
from training_inputs import flags, spec, write_all

COMMON: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.25,
}


class ScaledLlama(LlamaForCausalLM):
    """Changes its logits after the head, by a configuration key that nothing here knows."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        output = super().forward(*arguments, **keywords)
        output.logits = output.logits * 0.8
        return output


PLAIN: dict[str, Callable[[], PreTrainedModel]] = {
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**COMMON)),
    "Qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**COMMON)),
    "Mistral": lambda: MistralForCausalLM(MistralConfig(**COMMON, sliding_window=6)),
    "Gemma 2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**COMMON, head_dim=8, final_logit_softcapping=None, sliding_window=6, attn_logit_softcapping=2.0)
    ),
    "Qwen3 MoE": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**COMMON, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
    ),
}


def lfm2(vocabulary: int = 64) -> Lfm2ForCausalLM:
    layers = ["conv", "full_attention"]
    return Lfm2ForCausalLM(Lfm2Config(**{**COMMON, "vocab_size": vocabulary}, layer_types=layers))


def minimax(vocabulary: int = 64) -> MiniMaxConfig:
    layers = ["linear_attention", "full_attention"]
    return MiniMaxConfig(**{**COMMON, "vocab_size": vocabulary}, layer_types=layers, num_local_experts=4, num_labels=1)


def recurrent_gemma() -> RecurrentGemmaForCausalLM:
    shape = {**COMMON, "num_hidden_layers": 3, "w_init_variance_scale": 2.0}
    return RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**shape, lru_width=32))


def llama4() -> Llama4ForCausalLM:
    more = {"intermediate_size_mlp": 48, "head_dim": 8, "num_local_experts": 2, "pad_token_id": 0}
    return Llama4ForCausalLM(Llama4TextConfig(**COMMON, **more, attention_chunk_size=8))


BROKEN: dict[str, tuple[Callable[[], PreTrainedModel], str]] = {
    "convolutions": (lfm2, "Lfm2ForCausalLM gives different log-probabilities"),
    "linear attention": (lambda: MiniMaxForCausalLM(minimax()), "MiniMaxForCausalLM gives different log-probabilities"),
    "recurrence": (recurrent_gemma, "RecurrentGemmaForCausalLM gives different log-probabilities"),
    "scaled logits": (lambda: ScaledLlama(LlamaConfig(**COMMON)), "ScaledLlama gives different log-probabilities"),
    "attention in chunks": (llama4, "in chunks of 8 tokens"),
}


def made(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("recompute", [False, True])
def test_a_decoder_that_only_attends_passes_and_is_not_changed(name: str, recompute: bool) -> None:
    policy, other = made(PLAIN[name]), made(PLAIN[name])
    if recompute:
        checkpoint_activations(policy)
    training = [module.training for module in policy.modules() if module is not policy.get_output_embeddings()]
    before = torch.get_rng_state()
    model = checked_logprobs(policy, 0.8)
    assert torch.equal(torch.get_rng_state(), before)
    assert [m.training for m in policy.modules() if m is not policy.get_output_embeddings()] == training
    for found, expected in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(found, expected)
        assert found.grad is None
    assert isinstance(model, ResponseLogprobs)


@pytest.mark.parametrize("name", BROKEN)
def test_models_that_packs_break_are_refused(name: str) -> None:
    make, said = BROKEN[name]
    with pytest.raises(UserError, match=said):
        checked_logprobs(made(make), 0.8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoders_of_reward_models_are_checked_in_float32_whatever_their_dtype(dtype: torch.dtype) -> None:
    for make in PLAIN.values():
        decoder = made(make).get_decoder().to(dtype)
        before = [(parameter.data_ptr(), parameter.dtype) for parameter in decoder.parameters()]
        check_decoder(decoder)
        assert [(parameter.data_ptr(), parameter.dtype) for parameter in decoder.parameters()] == before
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in decoder.modules())
    for make in (lfm2, recurrent_gemma):
        with pytest.raises(UserError, match="gives different hidden states"):
            check_decoder(made(make).get_decoder().to(dtype))


def test_a_reward_model_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    made(lambda: MiniMaxForSequenceClassification(minimax(len(tokenizer)))).save_pretrained(tmp_path)
    settings = SequenceClassificationSettings(kind="sequence_classification", model="x", precision="bfloat16")
    with pytest.raises(UserError, match=f"{tmp_path}: this MiniMaxModel gives different hidden states"):
        settings.load(str(tmp_path), None, tokenizer, CPU)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pairs with log-probabilities, and a policy with convolutions."""
    folder = tmp_path_factory.mktemp("hybrid")
    tokenizer = small_tokenizer()
    made(lambda: lfm2(len(tokenizer))).save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    write_all(folder, folder / "policy", "bfloat16")
    return folder, folder / "policy"


def test_compute_logprobs_refuses_a_hybrid(hybrid: tuple[Path, Path], tmp_path: Path) -> None:
    folder, policy = hybrid
    made_by = json.dumps({"model": None, "precision": "bfloat16", "temperature": 0.8})
    given = ("--spec", made_by, "--pairs", folder / "first.parquet", "--policy", policy)
    done = run_program("compute_logprobs", *given, "--output", tmp_path / "logprobs.parquet")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {policy}: this Lfm2ForCausalLM gives different log-prob")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["single", "ddp", "zero3"])
def test_train_policy_refuses_a_hybrid(strategy: str, hybrid: tuple[Path, Path], tmp_path: Path) -> None:
    settings = spec({"name": "simpo", "beta": 2.5, "gamma": 1.25}, "bfloat16")
    processes = 1 if strategy == "single" else 2
    given = flags(*hybrid, tmp_path, settings)
    done = run_program("train_policy", *given, "--processes", processes, "--strategy", strategy)
    assert done.returncode == 1
    assert f"error: {hybrid[1]}: this Lfm2ForCausalLM gives different log-probabilities" in done.stderr
