"""Adapters: they change nothing at first, only they are trained, and they are merged into a plain checkpoint."""

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import LlamaForCausalLM

from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.models.policies import load_policy
from rlhf.models.tokenizers import load_tokenizer
from rlhf.training.adapters import add_adapters, round_at_random
from rlhf.training.loop import train
from rlhf.training.settings import LoraSettings, TrainSpec
from rlhf.training.state.checkpoint import save_policy
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


Trained = tuple[LlamaForCausalLM, dict[str, torch.Tensor], dict[str, torch.Tensor], TrainSpec]


def trained(folder: Path, precision: str) -> Trained:
    """A policy with trained adapters, its weights before, its weights with adapters, and the spec.

    `folder/parent` is the parent, with weights that bfloat16 represents exactly, `folder/checkpoint` the saved policy.
    """
    save_small_policy(folder / "parent")
    parent = LlamaForCausalLM.from_pretrained(folder / "parent").bfloat16().float()
    parent.save_pretrained(folder / "parent")
    policy = load_policy(str(folder / "parent"), None, "float32", CPU)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    recipe = {"lora": LORA, "learning_rate": 3e-4, "batch_size": 4}
    spec = train_spec({"name": "dpo", "beta": 0.5}, **recipe).model_copy(update={"precision": precision})
    pairs = with_reference(policy, random_pairs(8, seed=3), spec.temperature)
    torch.manual_seed(0)
    add_adapters(policy, LORA)
    weights = train(ResponseLogprobs(policy, spec.temperature), pairs, [], spec, Accelerator(cpu=True), 1000).weights
    (folder / "checkpoint").mkdir()
    save_policy(folder / "checkpoint", policy, weights, load_tokenizer(str(folder / "parent")), spec)
    return policy, before, weights, spec


def update(weights: dict[str, torch.Tensor], name: str) -> torch.Tensor | None:
    """alpha / rank * B A if the matrix has adapters, otherwise 0."""
    sides = [weights.get(f"{name.removesuffix('.weight')}.lora_{side}.default.weight") for side in "AB"]
    return None if sides[0] is None else LORA.alpha / LORA.rank * sides[1] @ sides[0]


def test_trained_and_merged_in_float32(tmp_path: Path) -> None:
    """The checkpoint is a plain model that computes what the adapted one computes: W + alpha / rank * B A."""
    _, before, weights, _ = trained(tmp_path, "float32")
    saved = LlamaForCausalLM.from_pretrained(tmp_path / "checkpoint").state_dict()
    assert saved.keys() == before.keys()
    for name, value in before.items():
        change = update(weights, name)
        assert torch.equal(saved[name], value if change is None else value + change)
    assert update(weights, "model.layers.0.mlp.up_proj.weight") is not None


def test_a_small_update_survives_bfloat16(tmp_path: Path) -> None:
    """Rounding to nearest would lose most of it; on average all of it is kept, and no entry is off by a whole unit."""
    _, before, weights, _ = trained(tmp_path, "bfloat16")
    saved = LlamaForCausalLM.from_pretrained(tmp_path / "checkpoint").state_dict()
    changes, kept, nearest = [], [], []
    for name, value in before.items():
        assert saved[name].dtype == torch.bfloat16
        change = update(weights, name)
        if change is None:
            assert torch.equal(saved[name].float(), value)
            continue
        exact = value + change
        unit = 2.0 ** (torch.floor(torch.log2(exact.abs())) - 7)
        assert ((saved[name].float() - exact).abs() < unit).all()
        changes.append(change.flatten())
        kept.append((saved[name].float() - value).flatten())
        nearest.append((exact.bfloat16().float() - value).flatten())
    change = torch.cat(changes)

    def share(of: list[torch.Tensor]) -> float:
        return float(torch.cat(of) @ change / (change @ change))

    assert share(nearest) < 0.7
    assert share(kept) == pytest.approx(1, abs=0.1)


def test_merging_is_reproducible_and_depends_on_the_seed(tmp_path: Path) -> None:
    policy, _, weights, spec = trained(tmp_path, "bfloat16")
    saved = (tmp_path / "checkpoint/model.safetensors").read_bytes()
    for seed, equal in ((spec.seed, True), (spec.seed + 1, False)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        tokenizer = load_tokenizer(str(tmp_path / "parent"))
        save_policy(folder, policy, weights, tokenizer, spec.model_copy(update={"seed": seed}))
        assert ((folder / "model.safetensors").read_bytes() == saved) == equal


def test_the_unmerged_adapters_are_saved_for_peft(tmp_path: Path) -> None:
    trained(tmp_path, "float32")
    parent = LlamaForCausalLM.from_pretrained(tmp_path / "parent")
    adapted = PeftModel.from_pretrained(parent, str(tmp_path / "checkpoint/adapter"))
    merged = LlamaForCausalLM.from_pretrained(tmp_path / "checkpoint")
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "parent")
    assert float((merged(IDS).logits - plain(IDS).logits).detach().norm()) > 0.01
    torch.testing.assert_close(adapted(IDS).logits, merged(IDS).logits, rtol=1e-4, atol=1e-4)


FLOATS = st.one_of(*(st.floats(*ends, width=32) for ends in ((2**-100, 2**100), (-(2**100), -(2**-100)))))


@given(FLOATS, st.text())
def test_stochastic_rounding_gives_a_neighbour_in_bfloat16_and_is_right_on_average(value: float, key: str) -> None:
    values = torch.full((4000,), value)
    rounded = round_at_random(values, key)
    assert torch.equal(rounded, round_at_random(values, key))
    below = (values[:1].view(torch.int32) & -(2**16)).view(torch.float32)  # towards zero
    above = ((values[:1].view(torch.int32) & -(2**16)) + 2**16).view(torch.float32)
    unit = above - below
    part = float((values[:1] - below) / unit)
    ups = float(((rounded.float() - below) / unit).double().mean())
    assert set(((rounded.float() - below) / unit).tolist()) <= ({0.0} if part == 0 else {0.0, 1.0})
    assert abs(ups - part) < 6 * math.sqrt(part * (1 - part) / 4000) + 1e-3
