"""The size of a saved state against one that accelerate saves, and the time for it by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import saved_state_worker
from rlhf.machine.choices import Strategy
from rlhf.machine.memory import TrainingSetup
from rlhf.machine.model_shapes import ModelShape, known_shape
from rlhf.machine.saving import (
    checkpoint_bytes,
    largest_file,
    short_notice,
    state_bytes,
    stop_seconds,
    training_disk_mb,
)
from rlhf.training.state.index import refuse_code
from small_models import SCRIPTS

FOUND = known_shape("meta-llama/Meta-Llama-3-8B-Instruct")
assert FOUND is not None
LLAMA: ModelShape = FOUND
PARAMETERS = 8_030_261_248
ALL = TrainingSetup("zero3", 8, "keep", "bfloat16")
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two million weights: names and random states are small beside them."""
    folder = tmp_path_factory.mktemp("parent")
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "vocab_size": 512}
    config = LlamaConfig(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("strategy", "trained"),
    [
        ("single", "all"),
        ("single", "adapters"),
        pytest.param("ddp", "all", marks=pytest.mark.slow),
        pytest.param("zero3", "all", marks=pytest.mark.slow),
        pytest.param("fsdp2", "adapters", marks=pytest.mark.slow),
    ],
)
def test_a_state_is_as_large_as_the_one_that_is_saved(
    strategy: Strategy, trained: str, parent: Path, tmp_path: Path
) -> None:
    processes = 1 if strategy == "single" else 2
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SUPPORT, SCRIPTS)))}
    command = [sys.executable, *(torchrun if processes > 1 else []), saved_state_worker.__file__]
    command += [strategy, trained, "bfloat16", str(parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    shape = known_shape(str(parent))
    assert shape is not None
    rank = saved_state_worker.RANK if trained == "adapters" else None
    setup = TrainingSetup(strategy, processes, "keep", "bfloat16", lora_rank=rank)
    # What else is in a state grows with the names of tensors, not with the tensors: most with FSDP2's lists of shards.
    assert state_bytes(shape, setup) <= written <= 1.03 * state_bytes(shape, setup) + 500_000
    largest = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert largest <= 1.03 * largest_file(shape, setup) + 500_000
    refuse_code(tmp_path)


def test_the_published_training() -> None:
    """96 GB, twice, and 16 GB in bfloat16; at half a gigabyte per second."""
    assert state_bytes(LLAMA, ALL) == 12 * PARAMETERS
    assert checkpoint_bytes(LLAMA, ALL) == 2 * PARAMETERS
    assert training_disk_mb(LLAMA, ALL) == pytest.approx(1.1 * 26 * PARAMETERS / 1e6, abs=1)
    assert largest_file(LLAMA, ALL) == 1.5 * PARAMETERS
    assert stop_seconds(LLAMA, ALL, step=40.0) == 300  # 40 + 193 + 24 + 30
    assert stop_seconds(LLAMA, ALL, step=80.0) == 360


def test_a_state_that_is_not_cut_waits_for_the_checksum_of_its_moments() -> None:
    whole = TrainingSetup("ddp", 8, "keep", "bfloat16")
    assert largest_file(LLAMA, whole) == 8 * PARAMETERS
    assert stop_seconds(LLAMA, whole, step=40.0) == 420  # 40 + 193 + 128 + 30


def test_small_and_rounded_moments_and_adapters() -> None:
    eight_bits = TrainingSetup("single", 1, "keep", "float32", optimizer="adamw_8bit")
    assert state_bytes(LLAMA, eight_bits) == pytest.approx(6 * PARAMETERS, rel=0.01)
    assert checkpoint_bytes(LLAMA, eight_bits) == 4 * PARAMETERS
    lora = TrainingSetup("zero3", 8, "keep", "bfloat16", lora_rank=64)
    assert state_bytes(LLAMA, lora) == 4 * PARAMETERS + 12 * LLAMA.adapters(64)
    assert checkpoint_bytes(LLAMA, lora) == 2 * PARAMETERS + 4 * LLAMA.adapters(64)


def test_a_small_model_is_given_a_minute_and_the_disk_of_any_job() -> None:
    small = ModelShape(2, 32, 48, 4, 2, 8, 64, 128)
    assert stop_seconds(small, ALL, step=0) == 60
    assert training_disk_mb(small, ALL) == 50_000


def test_short_notice_names_both_numbers_and_the_key() -> None:
    """128 and 1,000 pairs of 5,120 tokens on eight GPUs, 989 TFLOP/s each: 40 seconds."""
    tokens = 128 * 5120, 1000 * 5120
    assert short_notice(300, LLAMA, ALL, *tokens, 989e12) is None
    told = short_notice(299, LLAMA, ALL, *tokens, 989e12)
    assert told is not None
    for words in (
        "may be killed before its state is saved",
        "train_policy.stop_seconds",
        "299 seconds",
        "96 GB",
        "300",
    ):
        assert words in told
    assert short_notice(300, LLAMA, ALL, *tokens, 312e12) is not None  # on A100s the step alone takes twice as long
    assert short_notice(300, LLAMA, ALL, *tokens, None) is None
