"""Shapes from `config.json` against the models that transformers makes of it."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rlhf.base.errors import UserError
from rlhf.machine.model_shapes import SHIPPED, ModelShape, known_shape, shape_of_config
from small_models import save_small_policy

LLAMA = json.loads(SHIPPED.read_text())["meta-llama/Meta-Llama-3-8B-Instruct"]


def test_the_published_model() -> None:
    shape = known_shape("meta-llama/Meta-Llama-3-8B-Instruct")
    assert shape is not None
    assert shape.parameters == 8_030_261_248
    assert (shape.layers, shape.keys, shape.context) == (32, 1024, 8192)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "head_dim": 64}),
        ("mistral", {"num_key_value_heads": 4}),
        ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    ],
)
def test_weights_are_those_of_the_model(family: str, changes: dict[str, object]) -> None:
    sizes = {
        "hidden_size": 256,
        "intermediate_size": 600,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 512,
        **changes,
    }
    config = AutoConfig.for_model(family, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = shape_of_config(config.to_dict())
    assert shape is not None
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert shape.parameters == pytest.approx(expected, rel=2e-3)  # Qwen's norms of queries and keys are left out


def test_adapters_are_those_of_peft() -> None:
    from rlhf.training.adapters import add_adapters
    from rlhf.training.settings import LoraSettings

    config = AutoConfig.for_model("llama", **{**LLAMA, "num_hidden_layers": 2, "vocab_size": 100})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        add_adapters(model, LoraSettings(rank=16, alpha=16))
    shape = shape_of_config(config.to_dict())
    assert shape is not None
    assert shape.adapters(16) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_local_folder(tmp_path: Path) -> None:
    shape = known_shape(str(save_small_policy(tmp_path / "policy")))
    assert shape is not None
    assert (shape.hidden, shape.layers, shape.heads, shape.key_heads) == (32, 2, 4, 2)


def test_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert known_shape("owner/model") is None
    repository = tmp_path / "models--owner--model"
    for commit, layers in (("aaa", 5), ("bbb", 6)):
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": layers}))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("bbb")
    found = [known_shape("owner/model", revision) for revision in (None, "aaa", "ccc")]
    assert [shape and shape.layers for shape in found] == [6, 5, None]


TRUNCATED = json.dumps(LLAMA)[:-40].encode()


@pytest.mark.parametrize("content", [b"", TRUNCATED, b"\xff\xfe\x00", b"[]", b'{"text_config": 3}'])
def test_a_damaged_file_in_the_hubs_cache_is_named(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    path = tmp_path / "models--owner--model/snapshots/aaa/config.json"
    blob = tmp_path / "models--owner--model/blobs/bbb"
    for folder in (path.parent, blob.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(content)
    path.symlink_to(blob)
    with pytest.raises(UserError) as caught:
        known_shape("owner/model", "aaa")
    assert str(caught.value).startswith(f"{path}: this file is damaged")
    assert str(caught.value).endswith(f"delete {blob} and fetch it again with `snakemake prefetch`")


@pytest.mark.parametrize("change", [{"hidden_size": "wide"}, {"num_attention_heads": 0}, {"vocab_size": [1]}])
def test_invalid_sizes_are_named_with_a_local_folder(change: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **change}))
    with pytest.raises(UserError, match=rf"{tmp_path}/config.json: .* copy the model {tmp_path} again"):
        known_shape(str(tmp_path))


@pytest.mark.parametrize("change", [{"num_local_experts": 8}, {"intermediate_size": None}])
def test_other_architectures_are_unknown(change: dict[str, object]) -> None:
    assert isinstance(shape_of_config(LLAMA), ModelShape)
    assert shape_of_config({**LLAMA, **change}) is None
    assert shape_of_config({"text_config": LLAMA}) == shape_of_config(LLAMA)
