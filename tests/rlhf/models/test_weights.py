"""Weights that are missing, left over, of another shape or not finite are refused, never filled in at random."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from rlhf.base.errors import UserError
from rlhf.models.policies import load_policy
from rlhf.pairs.schema import PAIRS
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.sequence_classifier import load_classifier
from small_models import (
    CPU,
    pair_rows,
    run_program,
    save_small_classifier,
    save_small_policy,
    save_small_reward_model,
    small_llama,
)
from small_tokenizers import small_tokenizer

WEIGHTS = "model.safetensors"
Tensors = dict[str, torch.Tensor]
LAYER = "model.layers.1.mlp.up_proj.weight"
DAMAGES: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "missing": (lambda tensors: tensors.pop(LAYER), rf"1 missing \({LAYER}\)"),
    "left over": (lambda tensors: tensors.update(extra=torch.zeros(2)), r"1 unexpected \(extra\)"),
    "of another shape": (
        lambda tensors: tensors.update({LAYER: torch.zeros(3, 32)}),
        rf"1 with another shape \({LAYER} \[3, 32\] for \[48, 32\]\)",
    ),
    "renamed": (
        lambda tensors: tensors.update(named=tensors.pop(LAYER)),
        "1 missing .*; 1 unexpected",
    ),
}


def edit(folder: Path, damage: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    damage(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("name", DAMAGES)
def test_a_policy_whose_weights_do_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    damage, said = DAMAGES[name]
    edit(folder, damage)
    with pytest.raises(UserError, match=rf"do not match the LlamaForCausalLM in its config.json: .*{said}"):
        load_policy(str(folder), None, "float32", CPU)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_sequence_classifier_whose_weights_do_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    save_small_classifier(tmp_path, small_tokenizer())
    damage, said = DAMAGES[name]
    edit(tmp_path, damage)
    with pytest.raises(UserError, match=rf"do not match the LlamaForSequenceClassification in its config.*: .*{said}"):
        load_classifier(str(tmp_path), None, torch.float32)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_reward_model_of_armos_form_whose_weights_do_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    save_small_reward_model(tmp_path)
    edit(tmp_path, DAMAGES[name][0])
    said = {
        "missing": rf"missing tensors \['{LAYER}'\], unknown \[\]",
        "left over": r"missing tensors \[\], unknown \['extra'\]",
        "of another shape": rf"of another shape \['{LAYER} \[3, 32\] for \[48, 32\]'\]",
        "renamed": rf"missing tensors \['{LAYER}'\], unknown \['named'\]",
    }
    with pytest.raises(UserError, match=said[name]):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path), None, torch.float32, CPU)


def test_a_policy_is_no_reward_model_and_a_reward_model_no_policy(tmp_path: Path) -> None:
    policy = save_small_policy(tmp_path / "policy")
    save_small_classifier(tmp_path / "classifier", small_tokenizer())
    with pytest.raises(UserError, match="without weights for `score`"):
        load_classifier(str(policy), None, torch.float32)
    with pytest.raises(UserError, match=r"1 missing \(lm_head.weight\); 1 unexpected \(score.weig"):
        load_policy(str(tmp_path / "classifier"), None, "float32", CPU)


@pytest.mark.parametrize("both", [True, False], ids=["head in the file too", "embedding alone"])
def test_tied_weights_are_not_missing(both: bool, tmp_path: Path) -> None:
    config = small_llama().config
    config.tie_word_embeddings = True
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    if both:
        edit(tmp_path, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    loaded = load_policy(str(tmp_path), None, "float32", CPU)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert torch.equal(loaded.lm_head.weight, model.model.embed_tokens.weight)


def test_of_a_tied_model_without_any_embedding_it_is_missing(tmp_path: Path) -> None:
    config = small_llama().config
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    edit(tmp_path, lambda tensors: tensors.pop("model.embed_tokens.weight"))
    with pytest.raises(UserError, match=r"missing \(.*model.embed_tokens.weight"):
        load_policy(str(tmp_path), None, "float32", CPU)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_weight_that_is_not_finite_is_named_with_its_file(value: float, dtype: str, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    edit(folder, lambda tensors: tensors[LAYER][3:4, 5:7].fill_(value))
    with pytest.raises(UserError, match=f"{folder}/{WEIGHTS}: in the weight '{LAYER}', 2 of .* values are NaN or inf"):
        load_policy(str(folder), None, dtype, CPU)  # type: ignore[arg-type]


def test_of_several_files_the_right_one_is_named(tmp_path: Path) -> None:
    small_llama().save_pretrained(tmp_path, max_shard_size="20KB")
    file = json.loads((tmp_path / f"{WEIGHTS}.index.json").read_text())["weight_map"][LAYER]
    tensors = load_file(tmp_path / file)
    tensors[LAYER][0, 0] = math.nan
    save_file(tensors, tmp_path / file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"{tmp_path}/{file}: in the weight '{LAYER}', 1 of "):
        load_policy(str(tmp_path), None, "float32", CPU)


def test_reward_models_with_a_weight_that_is_not_finite(tmp_path: Path) -> None:
    save_small_classifier(tmp_path / "classifier", small_tokenizer())
    save_small_reward_model(tmp_path / "armo")
    edit(tmp_path / "classifier", lambda tensors: tensors["score.weight"][:, 1].fill_(math.nan))
    edit(tmp_path / "armo", lambda tensors: tensors["gating.logit_scale"].fill_(math.inf))
    with pytest.raises(UserError, match=rf"classifier/{WEIGHTS}: in the weight 'score.weight', 1 of "):
        load_classifier(str(tmp_path / "classifier"), None, torch.float32)
    with pytest.raises(UserError, match=rf"armo/{WEIGHTS}: in the weight 'gating.logit_scale', 1 of "):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path / "armo"), None, torch.float32, CPU)


@pytest.mark.parametrize("kind", ["policy", "armo"])
def test_damaged_weights_are_a_sentence(kind: str, tmp_path: Path) -> None:
    folder = {"policy": save_small_policy, "armo": save_small_reward_model}[kind](tmp_path / kind)
    content = (folder / WEIGHTS).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 100):
        (folder / WEIGHTS).write_bytes(damaged)
        with pytest.raises(UserError, match=str(folder)):
            if kind == "policy":
                load_policy(str(folder), None, "float32", CPU)
            else:
                ArmoRewardModel.from_folder_or_hub(str(folder), None, torch.float32, CPU)


@pytest.mark.slow
def test_a_program_says_it_without_a_traceback(tmp_path: Path) -> None:
    save_small_policy(tmp_path / "policy")
    edit(tmp_path / "policy", DAMAGES["missing"][0])
    pairs = tmp_path / "pairs.parquet"

    PAIRS.write(pairs, pair_rows(2), {})
    spec = json.dumps({"model": {"name": str(tmp_path / "policy")}, "precision": "float32", "temperature": 0.8})
    done = run_program("compute_logprobs", "--spec", spec, "--pairs", pairs, "--output", tmp_path / "out.parquet")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"error: {tmp_path}/policy: its weights do not match the LlamaForCausalLM" in done.stderr
    assert not (tmp_path / "out.parquet").exists()
