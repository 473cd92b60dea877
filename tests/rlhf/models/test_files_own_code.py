"""Custom code of a model never runs: it is refused before anything is loaded, in the real programs too."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.models.policies import load_policy
from rlhf.models.tokenizers import load_tokenizer
from rlhf.pairs.schema import PAIRS
from rlhf.responses.engines.vllm import VllmEngine
from rlhf.responses.schema import RESPONSES
from rlhf.responses.settings import SamplingSettings
from small_models import CPU, SCRIPTS, pair_rows, save_small_classifier, save_small_policy, write_prompts
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
def test_no_program_runs_custom_code_even_if_told_yes(
    program: str, name: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    file, settings = ATTACKS[name]
    marker = attack(models[program], file, **settings)
    done = run_with_yes(program, *program_flags(program, tmp_path, models[program]))
    assert not marker.exists()
    assert done.returncode == 1
    assert "[y/N]" not in done.stdout + done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: {models[program]}: its {file} names custom code")
    assert "Code from a model's repository never runs here" in said
    assert "Traceback" not in done.stderr
    assert not (tmp_path / f"{program}.out").exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_kind_of_custom_code_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path / "policy")
    file, settings = ATTACKS[name]
    marker = attack(folder, file, **settings)
    with pytest.raises(UserError, match=rf"its {file} names custom code for Auto.*evil\.Evil"):
        load_tokenizer(str(folder))
        load_policy(str(folder), None, "float32", CPU)
    assert not marker.exists()


def test_classes_of_transformers_are_used_instead_of_custom_ones(tmp_path: Path) -> None:
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


def test_vllm_gets_no_model_with_custom_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty module stands in for vLLM: the refusal comes before its first use."""
    monkeypatch.setitem(sys.modules, "vllm", type(sys)("vllm"))
    monkeypatch.setattr(sys.modules["vllm"], "LLM", None, raising=False)
    folder = save_small_policy(tmp_path / "policy")
    attack(folder, "config.json", auto_map={"AutoModelForCausalLM": "evil.EvilModel"})
    with pytest.raises(UserError, match="names custom code for AutoModelForCausalLM"):
        VllmEngine(str(folder), None, SamplingSettings(), 0, 1)
