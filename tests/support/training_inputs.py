"""Pairs, log-probabilities, spec and flags of a small training, as the rule passes them to `train_policy`."""

import json
from pathlib import Path
from typing import Any

from rlhf.base.settings import Precision
from rlhf.logprobs.pairs import logprob_rows, pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.logprobs.schema import LOGPROBS
from rlhf.models.policies import load_policy
from rlhf.pairs.schema import PAIRS
from rlhf.training.settings import RecipeSettings
from small_models import CPU, pair_rows, random_pairs

TEMPERATURE = 0.8
WITHOUT_REFERENCE = ("simpo", "sft")


def spec(loss: dict[str, Any], precision: str) -> dict[str, Any]:
    recipe = RecipeSettings(batch_size=4, learning_rate=1e-3, max_grad_norm=1.0, validation_interval=2)
    return {
        "seed": 3,
        "policy": "trained-1",
        "lineage": {"base_model": "owner/base", "parent": "base", "dataset": "owner/prompts"},
        "model": None,
        "precision": precision,
        "temperature": TEMPERATURE,
        "loss": loss,
        "recipe": recipe.model_dump(),
    }


def write_pairs(folder: Path, name: str, seed: int, count: int, policy: Path, precision: Precision) -> None:
    """`<name>.parquet` and `<name>-logprobs.parquet`."""
    pairs = random_pairs(count, seed)
    model = ResponseLogprobs(load_policy(str(policy), None, "float32", CPU), TEMPERATURE)
    chosen, rejected = pair_logprobs(model, pairs, precision, token_budget=100)
    rows = logprob_rows(pairs, chosen, rejected)
    PAIRS.write(folder / f"{name}.parquet", pair_rows(count, seed), {})
    made_with = {"model": None, "precision": precision, "temperature": TEMPERATURE}
    LOGPROBS.write(folder / f"{name}-logprobs.parquet", rows, {"spec": made_with})


def flags(folder: Path, policy: Path, output: Path, settings: dict[str, Any]) -> list[object]:
    """Two train parts and one validation part, as the rule passes them."""
    found: list[object] = ["--spec", json.dumps(settings), "--policy", policy]
    found += ["--checkpoint", output / "checkpoint", "--metrics", output / "training.parquet"]
    for flag, names in {"": ["first", "second"], "validation-": ["test"]}.items():
        found += [f"--{flag}pairs", *(folder / f"{name}.parquet" for name in names), f"--{flag}logprobs"]
        if settings["loss"]["name"] not in WITHOUT_REFERENCE:
            found += [folder / f"{name}-logprobs.parquet" for name in names]
    return found


def write_all(folder: Path, policy: Path, precision: Precision) -> None:
    for seed, (name, count) in enumerate({"first": 8, "second": 5, "test": 6}.items()):
        write_pairs(folder, name, seed, count, policy, precision)
