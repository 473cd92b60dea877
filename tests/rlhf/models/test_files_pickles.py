"""No pickle is read: pickled weights are refused, with a command that converts them safely."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlhf.base.errors import UserError
from rlhf.models.policies import load_policy
from rlhf.responses.engines.vllm import VllmEngine
from rlhf.responses.settings import SamplingSettings
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.sequence_classifier import load_classifier
from small_models import CPU, save_small_classifier, save_small_policy, save_small_reward_model
from small_tokenizers import small_tokenizer


def make_pickled(folder: Path, name: str = "pytorch_model.bin", files: int = 1) -> dict[str, torch.Tensor]:
    """Turn a model's safetensors into pickles; returns the weights."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, ending = name.rsplit(".", 1)
    for index in range(files):
        share = {key: weights[key] for number, key in enumerate(sorted(weights)) if number % files == index}
        torch.save(share, folder / (name if files == 1 else f"{stem}-{index + 1:05d}-of-{files:05d}.{ending}"))
    return weights


@pytest.mark.parametrize(("name", "files"), [("pytorch_model.bin", 1), ("it's a model.pt", 1), ("model.pth", 3)])
def test_a_pickled_policy_is_refused_with_a_command_that_converts_it(name: str, files: int, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "a policy")
    weights = make_pickled(folder, name, files)
    torch.save({"no": "weights"}, folder / "training_args.bin")
    with pytest.raises(UserError, match=r"its weights are pickled.*Convert them to safetensors: python -c ") as refused:
        load_policy(str(folder), None, "float32", CPU)
    line = str(refused.value).partition("Convert them to safetensors: ")[2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = load_policy(str(folder), None, "float32", CPU).state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_the_conversion_runs_no_code_of_the_pickle(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    make_pickled(folder)
    marker = tmp_path / "it_ran"
    torch.save({"weight": Opens(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="its weights are pickled") as refused:
        load_policy(str(folder), None, "float32", CPU)
    line = shlex.split(str(refused.value).partition("Convert them to safetensors: ")[2])
    done = subprocess.run([sys.executable, *line[1:]], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Weights only load failed" in done.stderr
    assert not marker.exists()


class Opens:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_pickled_reward_models_are_refused(tmp_path: Path) -> None:
    save_small_classifier(tmp_path / "classifier", small_tokenizer())
    save_small_reward_model(tmp_path / "armo")
    for folder in ("classifier", "armo"):
        make_pickled(tmp_path / folder)
    with pytest.raises(UserError, match=r"its weights are pickled \(pytorch_model\.bin\)"):
        load_classifier(str(tmp_path / "classifier"), None, torch.float32)
    with pytest.raises(UserError, match=r"its weights are pickled \(pytorch_model\.bin\)"):
        ArmoRewardModel.from_folder_or_hub(str(tmp_path / "armo"), None, torch.float32, CPU)


def test_safetensors_beside_pickles_are_read(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    torch.save({"weight": Opens(tmp_path / "it_ran")}, folder / "pytorch_model.bin")
    load_policy(str(folder), None, "float32", CPU)
    assert not (tmp_path / "it_ran").exists()


def test_vllm_gets_no_pickled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty module stands in for vLLM: the refusal comes before its first use."""
    monkeypatch.setitem(sys.modules, "vllm", type(sys)("vllm"))
    monkeypatch.setattr(sys.modules["vllm"], "LLM", None, raising=False)
    folder = save_small_policy(tmp_path / "policy")
    make_pickled(folder)
    with pytest.raises(UserError, match="its weights are pickled"):
        VllmEngine(str(folder), None, SamplingSettings(), 0, 1)
