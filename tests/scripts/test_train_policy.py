"""The program train_policy, run for real, behind compute_logprobs' own function."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.artifacts import read_provenance
from rlhf.logprobs import LOGPROBS
from rlhf.models import Precision, load_policy
from rlhf.pair_logprobs import pair_logprobs
from rlhf.pairs import PAIRS
from rlhf.provenance import digest
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.training import TRAINING, RecipeSettings, TrainSpec
from small_models import CPU, random_pairs, run_program, save_small_policy

TEMPERATURE = 0.8


def spec(loss: dict[str, Any], precision: str) -> dict[str, Any]:
    recipe = RecipeSettings(batch_size=4, learning_rate=1e-3, max_grad_norm=1.0, validation_interval=2)
    return {
        "seed": 3,
        "policy": "trained-1",
        "model": None,
        "precision": precision,
        "temperature": TEMPERATURE,
        "loss": loss,
        "recipe": recipe.model_dump(),
    }


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("policy"))


def write_pairs(folder: Path, name: str, seed: int, count: int, policy: Path, precision: Precision) -> None:
    """`<name>.parquet` and `<name>-logprobs.parquet`."""
    pairs = random_pairs(count, seed)
    model = ResponseLogprobs(load_policy(str(policy), None, "float32", CPU), TEMPERATURE)
    chosen, rejected = pair_logprobs(model, pairs, precision, token_budget=100)
    rows = [
        {
            "prompt_id": pair["prompt_id"],
            "chosen_logprob": chosen[index],
            "rejected_logprob": rejected[index],
            "chosen_tokens": len(pair["chosen_token_ids"]),
            "rejected_tokens": len(pair["rejected_token_ids"]),
        }
        for index, pair in enumerate(pairs)
    ]
    PAIRS.write(folder / f"{name}.parquet", pairs, {})
    made_with = {"model": None, "precision": precision, "temperature": TEMPERATURE}
    LOGPROBS.write(folder / f"{name}-logprobs.parquet", rows, {"spec": made_with})


def flags(folder: Path, policy: Path, output: Path, settings: dict[str, Any]) -> list[object]:
    """Two train parts and one of validation, as the rule gives them."""
    found: list[object] = ["--spec", json.dumps(settings), "--policy", policy]
    found += ["--checkpoint", output / "checkpoint", "--metrics", output / "training.parquet"]
    for flag, names in {"": ["first", "second"], "validation-": ["test"]}.items():
        found += [f"--{flag}pairs", *(folder / f"{name}.parquet" for name in names), f"--{flag}logprobs"]
        if settings["loss"]["name"] != "simpo":
            found += [folder / f"{name}-logprobs.parquet" for name in names]
    return found


def write_all(folder: Path, policy: Path, precision: Precision) -> None:
    for seed, (name, count) in enumerate({"first": 8, "second": 5, "test": 6}.items()):
        write_pairs(folder, name, seed, count, policy, precision)


@pytest.mark.parametrize(
    ("loss", "precision"),
    [
        ({"name": "rebel", "eta": 1e6}, "bfloat16"),
        ({"name": "simpo", "beta": 2.0, "gamma": 1.0}, "float32"),
    ],
    ids=["rebel-bfloat16", "simpo-float32"],
)
def test_a_trained_policy(tmp_path: Path, policy: Path, loss: dict[str, Any], precision: Precision) -> None:
    write_all(tmp_path, policy, precision)
    settings = spec(loss, precision)
    output = tmp_path / "trained-1"
    done = run_program("train_policy", *flags(tmp_path, policy, output, settings), "--token-budget", 200)
    assert done.returncode == 0, done.stderr
    assert "training trained-1: 12 of 12 pairs" in done.stderr

    metrics = TRAINING.read(output / "training.parquet").to_pylist()
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    assert [row["step"] for row in metrics if row["validation_loss"] is not None] == [0, 2, 3]
    if loss["name"] != "simpo":
        tolerance = 1e-4 if precision == "float32" else 2e-2
        assert abs(metrics[1]["chosen_logratio"]) < 12 * tolerance

    trained, parent = (AutoModelForCausalLM.from_pretrained(path) for path in (output / "checkpoint", policy))
    assert trained.dtype == getattr(torch, precision)
    assert not torch.equal(trained.get_output_embeddings().weight, parent.get_output_embeddings().weight)
    assert trained.generation_config.eos_token_id == parent.generation_config.eos_token_id
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (output / "checkpoint", policy)]
    assert tokenizers[0].chat_template == tokenizers[1].chat_template

    origin = read_provenance(output / "training.parquet")
    assert origin["spec"] == settings
    assert origin["inputs"]["pairs"] == [digest(tmp_path / f"{name}.parquet") for name in ("first", "second")]
    assert origin["inputs"]["policy"] == digest(policy)
    assert len(origin["inputs"]["logprobs"]) == (0 if loss["name"] == "simpo" else 2)
    of_checkpoint = json.loads((output / "checkpoint" / "provenance.json").read_text())
    assert {**of_checkpoint, "artifact": "training"} == origin


def test_help_explains_the_spec() -> None:
    done = run_program("train_policy", "--help")
    assert done.returncode == 0
    for name in TrainSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
