"""Training on examples with the real program: processes, micro-batches, another reference, adapters, wrong inputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from example_inputs import example_flags, write_examples
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS
from rlhf.training.schema import TRAINING
from small_models import run_program, save_small_policy
from training_inputs import spec

KTO = {"name": "kto", "beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.0}
SETTINGS = spec(KTO, "float32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the examples, and the parent, which is their reference."""
    folder = tmp_path_factory.mktemp("examples")
    policy = save_small_policy(folder / "policy")
    write_examples(folder, policy)
    return folder, policy


def test_several_processes_and_micro_batches_train_like_one(data: tuple[Path, Path], tmp_path: Path) -> None:
    runs = {}
    for name, more in {"one": (), "two": ("--processes", 2, "--strategy", "ddp", "--token-budget", 1)}.items():
        done = run_program("train_policy", *example_flags(*data, tmp_path / name, SETTINGS), *more)
        assert done.returncode == 0, done.stderr
        assert "12 of 12 examples" in done.stderr
        runs[name] = TRAINING.read(tmp_path / name / "training.parquet").to_pylist()
    assert [row["step"] for row in runs["one"]] == [0, 1, 2, 3]
    assert runs["one"][-1]["grad_norm"] > 1e-3
    for row, expected in zip(runs["two"], runs["one"], strict=True):
        for name, value in expected.items():
            # A log-ratio is a small difference of two sums of log-probabilities.
            rounding = 3e-4 if name.endswith("logratio") else 5e-5
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=rounding)), name
    one, two = (load_file(tmp_path / name / "checkpoint/model.safetensors") for name in runs)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
    card = (tmp_path / "one/checkpoint/README.md").read_text()
    assert "A policy trained by `kto` on 13 desirable and undesirable responses of `base`" in card


def test_adapters_with_a_start_that_is_not_the_reference(data: tuple[Path, Path], tmp_path: Path) -> None:
    """The reference is checked by itself, before; the merged policy is validated once more, after."""
    start = save_small_policy(tmp_path / "start", seed=5)
    settings: dict[str, Any] = {**SETTINGS, "recipe": {**SETTINGS["recipe"], "lora": {"rank": 4}}}
    settings["lineage"] = {**SETTINGS["lineage"], "start": "other-1"}
    flags = example_flags(data[0], start, tmp_path / "run", settings)
    done = run_program("train_policy", *flags, "--reference", data[1])
    assert done.returncode == 0, done.stderr
    assert "merged adapters, in float32: the mean log-ratio margin is" in done.stderr
    done = run_program("train_policy", *flags, "--reference", start)
    assert done.returncode != 0
    assert "the reference base is not the reference of its examples" in done.stderr


def test_pairs_or_log_probabilities_that_do_not_belong_are_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    flags = example_flags(*data, tmp_path / "run", SETTINGS)
    as_pairs = ["--pairs" if flag == "--examples" else flag for flag in flags]
    others = [data[0] / "test-logprobs.parquet" if str(flag).endswith("first-logprobs.parquet") else flag
              for flag in flags]  # fmt: skip
    rows = EXAMPLE_LOGPROBS.read(data[0] / "first-logprobs.parquet")
    warmer = {"spec": {"model": None, "precision": "float32", "temperature": 1.0}}
    EXAMPLE_LOGPROBS.write(tmp_path / "warm.parquet", rows, warmer)
    warm = [tmp_path / "warm.parquet" if str(flag).endswith("first-logprobs.parquet") else flag for flag in flags]
    for wrong, said in (
        (as_pairs, "--pairs: the loss kto learns from examples"),
        (others, "its log-probabilities are not those of the examples in"),
        (warm, "computed with temperature 1.0, but training uses 0.8"),
    ):
        done = run_program("train_policy", *wrong)
        assert done.returncode != 0
        assert said in done.stderr
