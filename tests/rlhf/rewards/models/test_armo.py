"""The architecture of ArmoRM against its formulas, written out again; checkpoints, sharded or not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig

from rlhf.base.errors import UserError
from rlhf.rewards.models.armo import PUBLISHED_ARCHITECTURE, PUBLISHED_OBJECTIVES, ArmoRewardModel
from rlhf.rewards.models.packed_scoring import PackScores
from rlhf.tokens.packing import Pack, PromptGroup

CPU = torch.device("cpu")
HEADER = [9, 6, 7, 8, 5]
"""Stands for `<|eot_id|><|start_header_id|>assistant<|end_header_id|>\\n\\n`."""
PROMPT = [1, 20, 21, 22, *HEADER]
RESPONSE = [30, 31, 9]


def small_model(objectives: int = 3, gating_sizes: tuple[int, ...] = (8, 8), **configured: Any) -> ArmoRewardModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.5,
        **configured,
    )
    model = ArmoRewardModel(config, objectives, list(gating_sizes))
    model.reward_transform_matrix.data.normal_()
    model.gating.logit_scale.data.fill_(1.7)
    return model.eval()


def score(model: ArmoRewardModel, conversations: list[tuple[list[int], list[int]]]) -> PackScores:
    pack = Pack([PromptGroup(prompt, [response]) for prompt, response in conversations], CPU)
    model.model.set_attn_implementation("packed")
    with torch.inference_mode():
        return model(pack, pack.prompt_ends() - len(HEADER))


def by_hand(model: ArmoRewardModel, prompt: list[int], response: list[int]) -> tuple[Tensor, Tensor]:
    """Score and objectives of one conversation by the published formulas; the header is searched in the prompt."""
    model.model.set_attn_implementation("eager")
    state, temperature = model.state_dict(), model.gating.temperature
    with torch.inference_mode():
        hidden = model.model(torch.tensor([prompt + response])).last_hidden_state[0]
    start = max(i for i in range(len(prompt)) if prompt[i : i + len(HEADER)] == HEADER)
    gate = hidden[start]
    layers = sum("weight" in key for key in state if key.startswith("gating.layers"))
    for index in range(layers):
        gate = state[f"gating.layers.{index}.weight"] @ gate + state[f"gating.layers.{index}.bias"]
        gate = torch.clamp(gate, min=0) if index < layers - 1 else gate
    weights = torch.exp(gate / temperature) / torch.exp(gate / temperature).sum() * state["gating.logit_scale"]
    objectives = state["regression_layer.weight"] @ hidden[-1]
    adjusted = torch.stack([(objectives * column).sum() for column in state["reward_transform_matrix"].T])
    return (weights * adjusted).sum(), objectives


@pytest.mark.parametrize("objectives", [1, 3, 19])
def test_score_and_objectives_are_those_of_the_formulas(objectives: int) -> None:
    model = small_model(objectives)
    output = score(model, [(PROMPT, RESPONSE)])
    expected_score, expected_objectives = by_hand(model, PROMPT, RESPONSE)
    assert output.objectives is not None
    assert output.values.dtype == output.objectives.dtype == torch.float32
    assert output.objectives.shape == (1, objectives)
    torch.testing.assert_close(output.values[0], expected_score)
    torch.testing.assert_close(output.objectives[0], expected_objectives)


def test_scores_do_not_depend_on_the_rest_of_the_pack() -> None:
    model = small_model()
    conversations = [(PROMPT, RESPONSE), ([1, 40, *HEADER], [50] * 20 + [9]), ([1, *HEADER], [9])]
    together = score(model, conversations).values
    alone = torch.cat([score(model, [conversation]).values for conversation in conversations])
    torch.testing.assert_close(together, alone)


def test_a_header_in_the_response_does_not_mislead_the_gate() -> None:
    model = small_model()
    hijack = [30, *HEADER, 31, 9]
    torch.testing.assert_close(score(model, [(PROMPT, hijack)]).values[0], by_hand(model, PROMPT, hijack)[0])


def test_the_gate_depends_on_the_prompt_alone() -> None:
    model = small_model()
    read: list[Tensor] = []
    model.gating.register_forward_hook(lambda module, inputs, output: read.append(output))
    score(model, [(PROMPT, RESPONSE)])
    score(model, [(PROMPT, [44, 45, 46, 47, 9])])
    score(model, [([1, 23, *HEADER], RESPONSE)])
    torch.testing.assert_close(read[0], read[1])
    assert not torch.allclose(read[0], read[2], atol=1e-3)


def test_the_temperature_is_read_from_the_configuration_and_ten_by_default() -> None:
    assert small_model().gating.temperature == 10.0
    assert small_model(gating_temperature=2).gating.temperature == 2.0
    assert (
        score(small_model(), [(PROMPT, RESPONSE)]).values
        != score(small_model(gating_temperature=2), [(PROMPT, RESPONSE)]).values
    )


def aligned_score(model: ArmoRewardModel) -> torch.Tensor:
    """With weights in memory of torch's own: where they begin, a file's anywhere, decides on the last bits of sums."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return score(model, [(PROMPT, RESPONSE)]).values


def test_the_checkpoint_has_the_published_layout_and_round_trips(tmp_path: Path) -> None:
    model = small_model(gating_temperature=3.0, objective_names=["a", "b", "c"])
    model.save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    heads = {key: tuple(tensor.shape) for key, tensor in tensors.items() if not key.startswith("model.")}
    assert heads == {
        "regression_layer.weight": (3, 16),
        "reward_transform_matrix": (3, 3),
        "gating.layers.0.weight": (8, 16),
        "gating.layers.0.bias": (8,),
        "gating.layers.1.weight": (8, 8),
        "gating.layers.1.bias": (8,),
        "gating.layers.2.weight": (3, 8),
        "gating.layers.2.bias": (3,),
        "gating.logit_scale": (1,),
    }
    assert "model.embed_tokens.weight" in tensors
    assert "model.layers.1.mlp.down_proj.weight" in tensors
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["architectures"] == [PUBLISHED_ARCHITECTURE]
    assert (written["num_objectives"], written["gating_n_hidden"], written["gating_hidden_dim"]) == (3, 2, 8)
    loaded = ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)
    assert (loaded.gating.temperature, loaded.objective_names) == (3.0, ("a", "b", "c"))
    assert torch.equal(aligned_score(loaded), aligned_score(model))


def test_shards_are_one_checkpoint_and_a_missing_one_is_named(tmp_path: Path) -> None:
    model = small_model()
    model.save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, tmp_path / shard)
    index = {"weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)
    assert torch.equal(aligned_score(loaded), aligned_score(model))
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-2\.safetensors"):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)


def test_a_backbone_of_bfloat16_keeps_heads_and_score_in_float32(tmp_path: Path) -> None:
    small_model().save(tmp_path)
    model = ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.bfloat16, CPU)
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.gating.parameters()} == {torch.float32}
    output = score(model, [(PROMPT, RESPONSE)])
    exact = score(small_model(), [(PROMPT, RESPONSE)])
    assert exact.objectives is not None
    assert output.values.dtype == torch.float32
    assert float(output.values) != float(output.values.bfloat16())
    assert abs(float(output.values - exact.values)) < 0.1 * float(exact.objectives.norm())


def test_a_checkpoint_of_another_architecture_is_a_user_error(tmp_path: Path) -> None:
    model = small_model()
    model.save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {key: value for key, value in tensors.items() if key != "gating.logit_scale"}, tmp_path / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"gating\.logit_scale"):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="regression_layer"):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)


def test_names_of_the_objectives() -> None:
    assert small_model(2).objective_names == ("objective_0", "objective_1")
    assert small_model(19, architectures=[PUBLISHED_ARCHITECTURE]).objective_names == PUBLISHED_OBJECTIVES
    with pytest.raises(UserError, match="2 names for 3"):
        small_model(3, objective_names=["a", "b"])
