"""Optional recipes and hardware settings of the program `train_policy`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM

from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, PairTable
from rlhf.training.schema import TRAINING
from small_models import run_program
from training_inputs import TEMPERATURE, flags, spec, write_all

Rows = list[dict[str, Any]]


def trained(data: tuple[Path, Path], output: Path, *more: object, **recipe: Any) -> Rows:
    made = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    made["recipe"] |= recipe
    done = run_program("train_policy", *flags(*data, output, made), *more)
    assert done.returncode == 0, done.stderr
    return TRAINING.read(output / "training.parquet").to_pylist()


def test_a_number_of_pairs(data: tuple[Path, Path], tmp_path: Path) -> None:
    """13 pairs in batches of 4 make 3 steps per epoch; 22 pairs make 5 whole batches."""
    rows = trained(data, tmp_path, pairs=22)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[-1]["epoch"] == pytest.approx(5 / 3)


def test_adapters_are_merged_into_a_plain_checkpoint(data: tuple[Path, Path], tmp_path: Path) -> None:
    lora = {"rank": 4, "alpha": 8, "targets": "all-linear"}
    rows = trained(data, tmp_path, lora=lora, epochs=3, learning_rate=1e-2)
    assert rows[-1]["validation_loss"] != rows[0]["validation_loss"]
    weights = load_file(tmp_path / "checkpoint/model.safetensors")
    parent = load_file(data[1] / "model.safetensors")
    assert weights.keys() == parent.keys()
    changed = {name for name, tensor in weights.items() if not tensor.equal(parent[name])}
    assert changed == {name for name in parent if name.endswith("_proj.weight")}


def test_the_last_validation_is_of_the_saved_merged_policy(data: tuple[Path, Path], tmp_path: Path) -> None:
    """Loaded by transformers and computed as `compute_logprobs` does, in bfloat16; the model card says the same."""
    write_all(tmp_path, data[1], "bfloat16")
    made = spec({"name": "dpo", "beta": 1.0, "label_smoothing": 0.0}, "bfloat16")
    made["recipe"] |= {"lora": {"rank": 4, "alpha": 8, "targets": "all-linear"}, "epochs": 3}
    done = run_program("train_policy", *flags(tmp_path, data[1], tmp_path, made))
    assert done.returncode == 0, done.stderr
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert saved.dtype == torch.bfloat16
    pairs = PairTable(PAIRS.read(tmp_path / "test.parquet", PAIR_COLUMNS))
    reference = LOGPROBS.read(tmp_path / "test-logprobs.parquet").to_pydict()
    chosen, rejected = pair_logprobs(ResponseLogprobs(saved.float().eval(), TEMPERATURE), pairs, "bfloat16", 10**6)
    differences = np.subtract(chosen, reference["chosen_logprob"]) - np.subtract(
        rejected, reference["rejected_logprob"]
    )
    expected = np.log1p(np.exp(-differences)).mean()
    last = TRAINING.read(tmp_path / "training.parquet").to_pylist()[-1]
    assert last["validation_loss"] == pytest.approx(expected, rel=1e-5)
    assert last["sign_agreement"] == pytest.approx((differences > 0).mean())
    assert f"| {last['validation_loss']:.6g} |" in (tmp_path / "checkpoint/README.md").read_text()
    assert f"merged adapters, in bfloat16: the mean log-ratio margin is {differences.mean():.4g}," in done.stderr


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("zero3", marks=pytest.mark.slow)])
def test_adapters_on_two_processes(strategy: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    lora = {"rank": 4, "alpha": 8, "targets": "all-linear"}
    one = trained(data, tmp_path / "one", lora=lora)
    two = trained(data, tmp_path / "two", "--processes", 2, "--strategy", strategy, lora=lora)
    for row, expected in zip(two, one, strict=True):
        for name in ("loss", "validation_loss"):
            assert row[name] == (expected[name] and pytest.approx(expected[name], rel=1e-4))


@pytest.mark.slow
def test_eight_bit_moments_and_recomputed_activations(data: tuple[Path, Path], tmp_path: Path) -> None:
    plain = trained(data, tmp_path / "plain")
    kept = trained(data, tmp_path / "kept", "--activations", "recompute")
    assert kept == plain
    eight = trained(data, tmp_path / "eight", optimizer="adamw_8bit")
    assert [row["loss"] for row in eight[1:]] == pytest.approx([row["loss"] for row in plain[1:]], rel=0.05)


def test_tensorboard_has_the_metrics(data: tuple[Path, Path], tmp_path: Path) -> None:
    rows = trained(data, tmp_path, "--tracker", "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "grad_norm", "validation_loss", "learning_rate"):
        expected = [(row["step"], row[name]) for row in rows if row[name] is not None and row["step"] > 0]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(step, pytest.approx(value)) for step, value in expected]


def test_nothing_is_tracked_unless_asked_for(data: tuple[Path, Path], tmp_path: Path) -> None:
    trained(data, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "training.parquet"]


def test_a_tracker_that_is_not_installed(data: tuple[Path, Path], tmp_path: Path) -> None:
    made = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    done = run_program("train_policy", *flags(*data, tmp_path, made), "--tracker", "wandb")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install wandb")


def test_a_training_that_could_not_save_in_time_warns_at_the_start(data: tuple[Path, Path], tmp_path: Path) -> None:
    made = spec({"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}, "float32")
    for seconds, told in ((30, True), (60, False)):
        output = tmp_path / str(seconds)
        done = run_program("train_policy", *flags(*data, output, made), "--stop-seconds", seconds)
        assert done.returncode == 0, done.stderr
        warning = re.search(r"WARNING if stopped, .*stop_seconds gives it 30 seconds.* may take 60", done.stderr)
        assert bool(warning) == told
        assert warning is None or warning.start() < done.stderr.index("training trained-1")
