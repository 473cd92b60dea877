"""Training on several pairs per prompt, run for real: in one process, and in two."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlhf.models.policies import load_policy
from rlhf.training.schema import TRAINING
from rlhf.training.settings import RecipeSettings
from several_pairs import several_prompts, several_rows, write_several
from small_models import CPU, run_program, save_small_policy
from training_inputs import TEMPERATURE, spec

PARTS = {"first": 7, "second": 6, "test": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the pairs, and the parent."""
    folder = tmp_path_factory.mktemp("data")
    parent = save_small_policy(folder / "policy")
    policy = load_policy(str(parent), None, "float32", CPU)
    for seed, (name, count) in enumerate(PARTS.items()):
        write_several(folder, name, several_rows(count, seed=seed), policy, TEMPERATURE)
    return folder, parent


def settings(**recipe: Any) -> dict[str, Any]:
    made = RecipeSettings(**{"batch_size": 4, "epochs": 2, "learning_rate": 1e-3, "validation_interval": 2, **recipe})
    return {**spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32"), "recipe": made.model_dump()}


def trained(
    data: tuple[Path, Path], output: Path, *more: object, **recipe: Any
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], str]:
    folder, parent = data
    flags: list[object] = ["--spec", json.dumps(settings(**recipe)), "--policy", parent]
    for flag, names in (("", ("first", "second")), ("validation-", ("test",))):
        flags += [f"--{flag}pairs", *(folder / f"{name}.parquet" for name in names)]
        flags += [f"--{flag}logprobs", *(folder / f"{name}-logprobs.parquet" for name in names)]
    flags += ["--checkpoint", output / "checkpoint", "--metrics", output / "training.parquet"]
    done = run_program("train_policy", *flags, *more)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training trained-1: 24 of 24 prompts") == 1
    rows = TRAINING.read(output / "training.parquet").to_pylist()
    return rows, load_file(output / "checkpoint/model.safetensors"), (output / "checkpoint/README.md").read_text()


@pytest.mark.parametrize("equal_weight", ["prompts", "pairs"])
def test_two_processes_train_like_one(equal_weight: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    """In packs of a prompt each, too; the metrics are weighted means over the whole batch."""
    metrics, weights, card = trained(data, tmp_path / "one", equal_weight=equal_weight)
    more = ("--processes", 2, "--strategy", "ddp", "--token-budget", 1)
    other, found, _ = trained(data, tmp_path / "two", *more, equal_weight=equal_weight)
    pairs = sum(len(prompt.pairs) for seed in (0, 1) for prompt in several_prompts([7, 6][seed], seed=seed))
    assert f"on {pairs} preference pairs" in card and ("equal_weight" in card) == (equal_weight == "pairs")
    for row, expected in zip(other, metrics, strict=True):
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), name
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)
