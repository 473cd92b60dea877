"""Which model is loaded, and from where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.models.policies import load_generation_config, load_policy
from rlhf.models.source import ModelSource, model_location, resolved_revision
from rlhf.models.tokenizers import load_tokenizer
from small_models import SCRIPTS, save_small_policy
from small_tokenizers import small_tokenizer


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
    with pytest.raises(UserError, match="cannot load a tokenizer from 'nobody/nothing'"):
        load_tokenizer("nobody/nothing")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UserError, match="cannot load a tokenizer from"):
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
    with pytest.raises(UserError, match="cannot load a causal language model"):
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
        "import sys; from rlhf.models.tokenizers import load_tokenizer; "
        "load_tokenizer(sys.argv[1]).save_pretrained(sys.argv[2])"
    )
    saved = []
    for offline in ("0", "1"):
        target = tmp_path / offline
        environment = {**os.environ, "HF_HUB_OFFLINE": offline, "PYTHONPATH": str(SCRIPTS)}
        subprocess.run([sys.executable, "-c", code, str(policy_folder), str(target)], check=True, env=environment)
        saved.append((target / "tokenizer_config.json").read_text())
    assert saved[0] == saved[1]


def test_generation_config_of_a_folder_with_and_without_the_file(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    own = load_policy(str(folder), None, "float32", torch.device("cpu")).generation_config.eos_token_id
    assert load_generation_config(str(folder), None).eos_token_id == own
    assert isinstance(own, list)
    (folder / "generation_config.json").unlink()
    of_model_config = load_policy(str(folder), None, "float32", torch.device("cpu")).generation_config.eos_token_id
    assert load_generation_config(str(folder), None).eos_token_id == of_model_config == own[0]
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot load a generation config from"):
        load_generation_config(str(folder), None)


HUB_COMES_AND_GOES = """
import os, sys
from pathlib import Path
from small_hub import SmallHub

with SmallHub(Path(sys.argv[1])) as hub:
    os.environ["HF_ENDPOINT"] = hub.url
    from rlhf.base.errors import UserError
    from rlhf.models.policies import load_generation_config
    print(load_generation_config("open/with", None).eos_token_id)
    print(load_generation_config("open/without", None).eos_token_id)
try:
    load_generation_config("open/unknown", None)
except UserError as error:
    print(error)
"""


def test_generation_config_of_the_hub(tmp_path: Path) -> None:
    """Where the hub is out of reach, the stop tokens would be missing and responses would run on: it is an error."""
    folders = [save_small_policy(tmp_path / "hub/models/open" / name) for name in ("with", "without")]
    (folders[1] / "generation_config.json").unlink()
    ids = json.loads((folders[0] / "generation_config.json").read_text())["eos_token_id"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {
        **kept,
        "HF_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": f"{SCRIPTS}:{SCRIPTS.parent / 'tests/support'}",
    }
    command = [sys.executable, "-c", HUB_COMES_AND_GOES, str(tmp_path / "hub")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found, of_model_config, said = done.stdout.splitlines()[:3]
    assert (found, of_model_config) == (str(ids), str(ids[0]))
    assert said.startswith("cannot load a generation config from 'open/unknown'")
