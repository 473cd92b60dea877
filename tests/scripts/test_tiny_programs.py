"""The programs that make the tiny world: what they write is what the pipeline takes, and twice the same bytes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.tiny.language.grammar import true_quality
from rlhf.tokens.chat import encode_prompt, encode_response
from rlhf.tokens.packing import Pack, PromptGroup
from warm_python import warm_program

SCRIPTS = Path(__file__).parents[2] / "scripts"
NETWORK = {"hidden_size": 32, "intermediate_size": 32, "layers": 1, "heads": 2}
LEARNING = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3}
SPECS: dict[str, dict[str, Any]] = {
    "make_tiny_prompts": {"seed": 3, "prompts": 20},
    "train_tiny_tokenizer": {"seed": 3, "vocabulary_size": 400},
    "pretrain_tiny_policy": {"seed": 3, "prompts": 20, "network": NETWORK, "learning": LEARNING},
    "train_tiny_policy": {"seed": 3, "prompts": 20, "learning": {**LEARNING, "correct": 0.5}},
    "train_tiny_reward_model": {"seed": 3, "prompts": 20, "learning": {**LEARNING, "gate_steps": 2}},
}


def run(program: str, output: Path, changed: dict[str, Any] | None = None, /, **inputs: Path) -> str:
    command = [str(warm_program()), str(SCRIPTS / f"{program}.py"), "--spec", json.dumps(changed or SPECS[program])]
    command += ["--output", str(output)]
    for flag, value in inputs.items():
        command += [f"--{flag}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stderr


def make_models(world: Path, folder: Path) -> None:
    inputs = {"tokenizer": world / "tokenizer", "pretrained": world / "pretrained"}
    for program, name in (("train_tiny_policy", "policy"), ("train_tiny_reward_model", "reward_model")):
        run(program, folder / name, None, **inputs)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    run("make_tiny_prompts", folder / "prompts.parquet")
    run("train_tiny_tokenizer", folder / "tokenizer")
    run("pretrain_tiny_policy", folder / "pretrained", tokenizer=folder / "tokenizer")
    make_models(folder, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_bytes_in_another_folder_and_over_an_older_one(world: Path, tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "stale.txt").write_text("left over")
    run("train_tiny_tokenizer", tmp_path / "tokenizer")
    make_models(world, tmp_path)
    for name in ("tokenizer", "policy", "reward_model"):
        assert contents(tmp_path / name) == contents(world / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy", "reward_model", "tokenizer"]


def test_prompts_are_of_the_grammar(world: Path) -> None:
    table = pq.read_table(world / "prompts.parquet")
    assert table.column_names == ["prompt"]
    prompts = table["prompt"].to_pylist()
    assert len(set(prompts)) == 20
    assert true_quality(prompts, [""] * 20)


def test_the_policy_is_a_folder_like_any_other(world: Path) -> None:
    folder = world / "policy"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer)
    assert GenerationConfig.from_pretrained(folder).eos_token_id == tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|eot_id|>"
    assert tokenizer.chat_template
    weights = [contents(world / name)["model.safetensors"] for name in ("pretrained", "policy")]
    assert weights[0] != weights[1]


def test_the_reward_model_scores_conversations_of_the_pipeline(world: Path) -> None:
    folder = world / "reward_model"
    model = ArmoRewardModel.from_folder_or_hub(str(folder), None, torch.float32, torch.device("cpu"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt, response = encode_prompt(tokenizer, "Greet Anna."), encode_response(tokenizer, "Hello, Anna!")
    output = ArmoScorer(model, tokenizer)(Pack([PromptGroup(prompt, [response])], torch.device("cpu")))
    assert output.objectives is not None
    assert output.objectives.shape == (1, 4)
    assert torch.isfinite(output.values).all()
    assert model.objective_names == ("correctness", "politeness", "brevity", "willingness")


@pytest.mark.parametrize("name", ["pretrained", "policy", "reward_model"])
def test_provenance_lies_in_every_model_folder(world: Path, name: str) -> None:
    origin = json.loads((world / name / "provenance.json").read_text())
    assert origin["spec"]["seed"] == 3
    assert set(origin["inputs"]) == ({"tokenizer"} if name == "pretrained" else {"tokenizer", "pretrained"})


def test_no_steps_leave_the_weights_as_they_were(world: Path, tmp_path: Path) -> None:
    spec = {**SPECS["train_tiny_policy"], "learning": {**LEARNING, "steps": 0, "correct": 0.5}}
    inputs = {"tokenizer": world / "tokenizer", "pretrained": world / "pretrained"}
    run("train_tiny_policy", tmp_path / "policy", spec, **inputs)
    assert contents(tmp_path / "policy")["model.safetensors"] == contents(world / "pretrained")["model.safetensors"]


def test_more_prompts_than_there_are_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"error: tiny\.prompts") as caught:
        run("make_tiny_prompts", tmp_path / "prompts.parquet", {"seed": 1, "prompts": 100_000})
    assert "Traceback" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
