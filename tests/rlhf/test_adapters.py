"""Adapters: they change nothing at first, train alone, and are merged into a plain checkpoint."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM

from rlhf.adapters import add_adapters
from rlhf.checkpoint import save_checkpoint
from rlhf.models import load_policy, load_tokenizer
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.training import LoraSettings
from rlhf.training_loop import train
from small_models import CPU, random_pairs, save_small_policy, small_llama, train_spec, with_reference

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
LORA = LoraSettings(rank=4, alpha=8)


def test_at_first_they_change_nothing_and_the_policys_own_weights_are_frozen() -> None:
    policy, plain = small_llama(), small_llama()
    add_adapters(policy, LORA)
    assert torch.equal(policy(IDS).logits, plain(IDS).logits)
    trained = {name.rsplit(".", 3)[-3] for name, value in policy.named_parameters() if value.requires_grad}
    assert trained == {"lora_A", "lora_B"}
    matrices = sum("lora_A" in name for name, _ in policy.named_parameters())
    assert matrices == 2 * 7  # two layers; the head has none


def test_named_targets() -> None:
    policy = small_llama()
    add_adapters(policy, LoraSettings(targets=["q_proj", "v_proj"]))
    adapted = {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in policy.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_trained_and_merged(precision: str, tmp_path: Path) -> None:
    """The checkpoint is a plain model that computes what the adapted one computes: W + alpha / rank * B A."""
    parent = save_small_policy(tmp_path / "parent")
    policy = load_policy(str(parent), None, "float32", CPU)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    recipe = {"lora": LORA, "learning_rate": 1e-2, "batch_size": 4}
    spec = train_spec({"name": "dpo", "beta": 0.5}, **recipe).model_copy(update={"precision": precision})
    pairs = with_reference(policy, random_pairs(8, seed=3), spec.temperature)
    torch.manual_seed(0)
    add_adapters(policy, LORA)
    model = ResponseLogprobs(policy, spec.temperature)
    metrics, weights = train(model, pairs, [], spec, Accelerator(cpu=True), 1000)
    save_checkpoint(
        tmp_path / "checkpoint", policy, weights, load_tokenizer(str(parent)), spec, len(pairs), metrics, {}
    )
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert saved.state_dict().keys() == before.keys()
    for name, value in before.items():
        layer = name.removesuffix(".weight")
        expected = value
        if f"{layer}.lora_A.default.weight" in weights:
            a, b = (weights[f"{layer}.lora_{side}.default.weight"] for side in "AB")
            assert float(b.abs().max()) > 0
            expected = value + 8 / 4 * b @ a
        torch.testing.assert_close(saved.state_dict()[name], expected.to(getattr(torch, precision)))
