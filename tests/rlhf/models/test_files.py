"""A model's code and pickles never run: refused by name before anything is loaded, through the real programs."""

import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlhf.base.errors import UserError
from rlhf.models.policies import load_policy
from rlhf.models.tokenizers import load_tokenizer
from rlhf.pairs.schema import PAIRS
from rlhf.responses.engines.vllm import VllmEngine
from rlhf.responses.schema import RESPONSES
from rlhf.responses.settings import SamplingSettings
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.sequence_classifier import load_classifier
from small_models import (
    CPU,
    SCRIPTS,
    pair_rows,
    save_small_classifier,
    save_small_policy,
    save_small_reward_model,
    write_prompts,
)
from small_tokenizers import small_tokenizer

ROWS = {"start": 0, "stop": 2}


def attack(folder: Path, file: str, **settings: Any) -> Path:
    """Let a model's `file` name code that lies beside it, which would leave a marker; returns where."""
    marker = folder / "it_ran"
    bases = {
        "EvilConfig": "PreTrainedConfig",
        "EvilModel": "PreTrainedModel",
        "EvilTokenizer": "PreTrainedTokenizerFast",
    }
    classes = "".join(f"class {name}({base}): model_type = 'evil'\n" for name, base in bases.items())
    code = f"from transformers import {', '.join(bases.values())}\nopen({str(marker)!r}, 'w').close()\n{classes}"
    (folder / "evil.py").write_text(code)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return marker


ALL_CODE = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
ALL_CODE["AutoModelForSequenceClassification"] = "evil.EvilModel"
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown model": ("config.json", {"model_type": "evil", "auto_map": ALL_CODE}),
    "a known model": ("config.json", {"auto_map": ALL_CODE}),
    "a known configuration": ("config.json", {"auto_map": {**ALL_CODE, "AutoConfig": "configuration.LlamaConfig"}}),
    "code of another repository": ("config.json", {"auto_map": {**ALL_CODE, "AutoConfig": "a/b--evil.EvilConfig"}}),
    "a tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]}}),
    "an unknown tokenizer": (
        "tokenizer_config.json",
        {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": [None, "evil.EvilTokenizer"]}},
    ),
    "a tokenizer of old": ("tokenizer_config.json", {"auto_map": ["evil.EvilTokenizer", None]}),
}


def run_with_yes(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input="y\n" * 20)


def program_flags(program: str, folder: Path, model: Path) -> list[object]:
    """The arguments of a program for a model, with inputs of its own."""
    source = {"name": str(model)}
    rows = write_prompts(folder / "prompts.parquet", 2)
    response = {"response": "so", "response_token_ids": [7], "finish_reason": "stop"}
    keys = [{"prompt_id": row["prompt_id"], "draw": draw, "seed": draw} for row in rows for draw in range(2)]
    RESPONSES.write(folder / "responses.parquet", [{**key, **response} for key in keys], {})
    PAIRS.write(folder / "pairs.parquet", pair_rows(2), {})
    sampling = {"engine": "transformers", "draws": 2, "max_tokens": 4, "precision": "float32"}
    scorer = {"kind": "sequence_classification", "model": "x", "max_tokens": 60, "precision": "float32"}
    specs: dict[str, dict[str, Any]] = {
        "generate_responses": {"seed": 1, "policy": "base", "model": source, "rows": ROWS, **sampling},
        "score_responses": {"rows": ROWS, "scorer": scorer, "model": source},
        "compute_logprobs": {"model": source, "precision": "float32", "temperature": 0.8},
    }
    inputs: dict[str, list[object]] = {
        "generate_responses": ["--prompts", folder / "prompts.parquet"],
        "score_responses": ["--prompts", folder / "prompts.parquet", "--responses", folder / "responses.parquet"],
        "compute_logprobs": ["--pairs", folder / "pairs.parquet"],
    }
    return ["--spec", json.dumps(specs[program]), *inputs[program], "--output", folder / f"{program}.out"]


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """A good model for each program."""
    policy = save_small_policy(tmp_path / "policy")
    save_small_classifier(tmp_path / "classifier", small_tokenizer())
    return {
        "generate_responses": policy,
        "compute_logprobs": policy,
        "score_responses": tmp_path / "classifier",
    }


PROGRAMS = ["generate_responses", "score_responses", "compute_logprobs"]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["an unknown model", "an unknown tokenizer"])
def test_no_program_runs_the_code_of_a_model_whatever_is_answered(
    program: str, name: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    file, settings = ATTACKS[name]
    marker = attack(models[program], file, **settings)
    done = run_with_yes(program, *program_flags(program, tmp_path, models[program]))
    assert not marker.exists()
    assert done.returncode == 1
    assert "[y/N]" not in done.stdout + done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: {models[program]}: its {file} names code of its own")
    assert "Code from a model's repository never runs here" in said
    assert "Traceback" not in done.stderr
    assert not (tmp_path / f"{program}.out").exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_each_way_to_name_code_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    file, settings = ATTACKS[name]
    marker = attack(folder, file, **settings)
    with pytest.raises(UserError, match=rf"its {file} names code of its own for Auto.*evil\.Evil"):
        load_tokenizer(str(folder))
        load_policy(str(folder), None, "float32", CPU)
    assert not marker.exists()


def test_a_class_that_transformers_has_is_taken_from_there(tmp_path: Path) -> None:
    """As of Phi-3, whose repository still holds the code from before transformers knew it."""
    folder = save_small_policy(tmp_path / "policy")
    known = {"AutoConfig": "evil.LlamaConfig", "AutoModelForCausalLM": "evil.LlamaForCausalLM"}
    marker = attack(folder, "config.json", auto_map=known)
    assert type(load_policy(str(folder), None, "float32", CPU)).__module__ == "transformers.models.llama.modeling_llama"
    assert not marker.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_code_of_the_hub_is_refused(key: str, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    attack(folder, "config.json", **{key: "nobody/kernel"})
    with pytest.raises(UserError, match=rf"asks for attention code from the hub \({key}: 'nobody/kernel'\)"):
        load_policy(str(folder), None, "float32", CPU)


def test_the_engine_of_vllm_refuses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before vLLM gets the model: a module of its name is all that there is here."""
    monkeypatch.setitem(sys.modules, "vllm", type(sys)("vllm"))
    monkeypatch.setattr(sys.modules["vllm"], "LLM", None, raising=False)
    folder = save_small_policy(tmp_path / "policy")
    make_pickled(folder)
    with pytest.raises(UserError, match="its weights are pickled"):
        VllmEngine(str(folder), None, SamplingSettings(), 0, 1)
    attack(folder, "config.json", auto_map={"AutoModelForCausalLM": "evil.EvilModel"})
    with pytest.raises(UserError, match="names code of its own for AutoModelForCausalLM"):
        VllmEngine(str(folder), None, SamplingSettings(), 0, 1)


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
def test_a_pickled_policy_is_refused_with_the_line_that_converts_it(name: str, files: int, tmp_path: Path) -> None:
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


def test_the_line_runs_no_code_of_the_pickle(tmp_path: Path) -> None:
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


def test_safetensors_beside_pickles_are_what_is_read(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    torch.save({"weight": Opens(tmp_path / "it_ran")}, folder / "pytorch_model.bin")
    load_policy(str(folder), None, "float32", CPU)
    assert not (tmp_path / "it_ran").exists()


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """All calls in the sources, with the last part of the name of what is called."""
    for path in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield path, node, name


def keywords(call: ast.Call) -> dict[str | None, Any]:
    return {
        word.arg: word.value.value if isinstance(word.value, ast.Constant) else word.value for word in call.keywords
    }


def test_one_place_loads_and_it_trusts_no_code() -> None:
    """Not a call alone: a reference would be a way round."""
    references = [
        path.relative_to(SCRIPTS).as_posix()
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "from_pretrained")
        or (isinstance(node, ast.Constant) and node.value == "from_pretrained")
    ]
    assert references == ["rlhf/models/pretrained.py"]
    (loading,) = (call for _, call, name in calls() if name == "from_pretrained")
    assert keywords(loading)["trust_remote_code"] is False
    (engine,) = (call for _, call, name in calls() if name == "LLM")
    assert keywords(engine)["trust_remote_code"] is False
    assert keywords(engine)["load_format"] == "safetensors"
    others = {"pipeline", "get_class_from_dynamic_module", "EngineArgs", "AsyncLLMEngine", "get_kernel"}
    assert not [path for path, _, name in calls() if name in others]
    trusting = [keywords(call).get("trust_remote_code", False) for _, call, _ in calls()]
    assert set(trusting) == {False}


def test_no_pickle_is_read() -> None:
    for path, call, name in calls():
        of_torch = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "torch"
        if name == "load" and of_torch:
            assert keywords(call).get("weights_only") is True, path
        assert name not in ("Unpickler", "load_checkpoint"), path
    readers = {
        str(path.relative_to(SCRIPTS))
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib")
    }
    assert readers == {"rlhf/training/state/index.py"}  # whose reader refuses all but a few names
