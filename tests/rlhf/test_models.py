"""Which model is loaded, and from where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.errors import UserError
from rlhf.models import ModelSource, Precision, load_policy, load_tokenizer, model_location, resolved_revision
from small_tokenizers import small_tokenizer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_folder_of_the_flag_comes_before_the_spec(policy_folder: Path) -> None:
    source = ModelSource(name="owner/model", revision="abc")
    assert model_location(policy_folder, source) == (str(policy_folder), None)
    assert model_location(None, source) == ("owner/model", "abc")


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model: give its folder"):
        model_location(None, None)
    with pytest.raises(UserError, match=r"no model in this folder \(it has no config\.json\)"):
        model_location(tmp_path, None)


def test_tokenizer_with_its_template(policy_folder: Path) -> None:
    tokenizer = load_tokenizer(str(policy_folder))
    expected = small_tokenizer()
    assert tokenizer.chat_template == expected.chat_template
    text = "what is <|eot_id|> 2 + 2?"
    assert tokenizer(text)["input_ids"] == expected(text)["input_ids"]


def test_tokenizers_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer can be loaded from 'nobody/nothing'"):
        load_tokenizer("nobody/nothing")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UserError, match="no tokenizer can be loaded from"):
        load_tokenizer(str(tmp_path))
    tokenizer = small_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no chat template"):
        load_tokenizer(str(tmp_path))


def test_policy_is_loaded_in_its_type_and_does_not_train(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, attention_dropout=0.5,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    types: list[tuple[Precision, torch.dtype]] = [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
    for dtype, expected in types:
        loaded = load_policy(str(tmp_path), None, dtype, torch.device("cpu"))
        assert {parameter.dtype for parameter in loaded.parameters()} == {expected}
        assert not loaded.training
        assert torch.equal(loaded.lm_head.weight, model.lm_head.weight.to(expected))
    with pytest.raises(UserError, match="no causal language model can be loaded"):
        load_policy(str(tmp_path / "absent"), None, "float32", torch.device("cpu"))


def test_revision_of_a_folder_is_none_and_of_the_hub_the_commit(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filled cache, as a download leaves it, stands for the hub."""
    assert resolved_revision(str(policy_folder), None) is None
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert resolved_revision("owner/model", None) == commit
    assert resolved_revision("owner/model", commit) == commit


def test_a_saved_tokenizer_does_not_depend_on_being_offline(policy_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from rlhf.models import load_tokenizer; load_tokenizer(sys.argv[1]).save_pretrained(sys.argv[2])"
    )
    saved = []
    for offline in ("0", "1"):
        target = tmp_path / offline
        environment = {**os.environ, "HF_HUB_OFFLINE": offline, "PYTHONPATH": str(SCRIPTS)}
        subprocess.run([sys.executable, "-c", code, str(policy_folder), str(target)], check=True, env=environment)
        saved.append((target / "tokenizer_config.json").read_text())
    assert saved[0] == saved[1]
