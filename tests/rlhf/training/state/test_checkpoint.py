"""The checkpoint is a model folder like any other on the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlhf.models.policies import load_policy
from rlhf.models.source import model_location
from rlhf.models.tokenizers import load_tokenizer
from rlhf.responses.engine import stop_token_ids
from rlhf.training.settings import TrainSpec
from rlhf.training.state.checkpoint import describe_policy, model_card, save_policy
from small_models import CPU, save_small_policy, train_spec

METRICS = [
    {"step": 0, "epoch": 0.0, "validation_loss": 0.75, "sign_agreement": 0.0},
    {"step": 1, "epoch": 1.0, "loss": 0.6, "validation_loss": 0.5, "sign_agreement": 0.8125},
]
PROVENANCE = {"spec": {"seed": 1}, "code": "abc", "inputs": {"pairs": ["def"]}}
DPO = train_spec({"name": "dpo", "beta": 0.05}, learning_rate=2e-4)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("parent"))


def save(parent: Path, folder: Path, spec: TrainSpec = DPO) -> dict[str, torch.Tensor]:
    """Save the parent with every weight changed; returns the changed weights."""
    policy = load_policy(str(parent), None, "float32", CPU)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    folder.mkdir()
    save_policy(folder, policy, policy.state_dict(), load_tokenizer(str(parent)), spec)
    describe_policy(folder, spec, 12, METRICS, PROVENANCE)
    return before


def test_the_weights_come_back(parent: Path, tmp_path: Path) -> None:
    weights = save(parent, tmp_path / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert model.dtype == torch.float32
    assert model.state_dict().keys() == weights.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_the_weights_have_the_precision_of_the_spec(parent: Path, tmp_path: Path) -> None:
    weights = save(parent, tmp_path / "checkpoint", DPO.model_copy(update={"precision": "bfloat16"}))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert model.dtype == torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name].bfloat16()), name


def test_tokenizer_chat_template_and_generation_config_are_the_parents(parent: Path, tmp_path: Path) -> None:
    save(parent, tmp_path / "checkpoint")
    tokenizer, own = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "checkpoint", parent))
    text = "the quick <|eot_id|> brown"
    assert tokenizer.chat_template == own.chat_template
    assert tokenizer(text)["input_ids"] == own(text)["input_ids"]
    saved, original = (GenerationConfig.from_pretrained(folder) for folder in (tmp_path / "checkpoint", parent))
    assert saved.eos_token_id == original.eos_token_id
    assert saved.temperature == original.temperature == 0.6
    assert stop_token_ids(saved, tokenizer, []) == stop_token_ids(original, own, [])
    assert len(stop_token_ids(saved, tokenizer, [])) == 2


def test_it_is_a_policy_for_the_next_iteration(parent: Path, tmp_path: Path) -> None:
    save(parent, tmp_path / "checkpoint")
    assert model_location(tmp_path / "checkpoint", None) == (str(tmp_path / "checkpoint"), None)


def test_provenance_and_reproducible_bytes(parent: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        save(parent, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert json.loads(contents[0]["provenance.json"]) == PROVENANCE
    assert contents[0] == contents[1]


def test_the_model_card_says_what_it_is() -> None:
    card = model_card(DPO, 12, METRICS)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]
    assert card.startswith("# trained-1\n")
    assert "`dpo`" in card
    assert "on 12 preference pairs of responses of `base`" in card
    assert "base model: `owner/base`" in card
    assert "prompts: `owner/prompts`" in card
    for row in (["beta", "0.05"], ["learning_rate", "0.0002"], ["seed", "7"], ["batch_size", "128"]):
        assert row in rows
    assert ["validation_loss", "0.75", "0.5"] in rows
    assert ["sign_agreement", "0", "0.8125"] in rows


def test_the_model_card_without_validation() -> None:
    nothing: list[dict[str, Any]] = [{"step": 0, "validation_loss": None, "sign_agreement": None}]
    assert "| validation_loss |  |  |" in model_card(DPO, 12, nothing)
