"""The memory model against what torch holds: under FakeTensorMode at full size, and in a real training on the CPU."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rlhf.machine.memory
from measured_memory import groups, peak_of_forward, peak_of_scoring, peak_of_training
from rlhf.base.settings import Precision
from rlhf.logprobs.head import TILE_TOKENS
from rlhf.machine.memory import TrainingSetup, kept_per_token, logprob_memory, scoring_memory, training_memory
from rlhf.machine.model_shapes import ModelShape, known_shape
from small_models import SCRIPTS

FOUND = known_shape("meta-llama/Meta-Llama-3-8B-Instruct")
assert FOUND is not None
LLAMA: ModelShape = FOUND
QWEN = ModelShape(4, 1536, 8960, 12, 2, 128, 151_936, 32_768, tied=True)
"""Four layers of Qwen2.5-1.5B."""
PRECISIONS: list[Precision] = ["bfloat16", "float32"]


@pytest.mark.parametrize("lora", [None, 64])
@pytest.mark.parametrize("activations", ["keep", "recompute"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [replace(LLAMA, layers=4), QWEN], ids=["llama", "qwen"])
def test_training(shape: ModelShape, precision: Precision, activations: Any, lora: int | None) -> None:
    recompute = activations == "recompute"
    measured, tokens = peak_of_training(shape, groups(5120), precision, recompute=recompute, lora=lora)
    setup = TrainingSetup("single", 1, activations, precision, lora_rank=lora)
    assert training_memory(shape, setup, tokens).total == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("activations", ["keep", "recompute"])
def test_training_at_the_published_size(activations: Any) -> None:
    """32 layers, 16,384 tokens, bfloat16: 280 GB on one GPU, of which a tensor without numbers takes nothing."""
    measured, tokens = peak_of_training(
        LLAMA, groups(16_384), "bfloat16", recompute=activations == "recompute", lora=None
    )
    setup = TrainingSetup("single", 1, activations, "bfloat16")
    assert training_memory(LLAMA, setup, tokens).total == pytest.approx(measured, rel=0.05)
    assert measured > 140e9


@pytest.mark.parametrize("lora", [None, 64])
def test_what_autograd_keeps_of_a_layer(lora: int | None) -> None:
    """The difference that a layer makes, less its weights, their gradients, moments and rounded copies."""
    peaks = []
    for layers in (2, 3):
        shape = replace(LLAMA, layers=layers)
        measured, tokens = peak_of_training(shape, groups(16_384), "bfloat16", recompute=False, lora=lora)
        peaks.append(measured)
    per_weight = 16 + 2 if lora is None else 2
    adapters = 0 if lora is None else 16 * LLAMA.adapters(lora) // LLAMA.layers
    kept = (peaks[1] - peaks[0] - per_weight * LLAMA.layer_matrices - adapters) / tokens
    assert kept_per_token(LLAMA, "bfloat16", lora_rank=lora) == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [replace(LLAMA, layers=4), QWEN], ids=["llama", "qwen"])
@pytest.mark.parametrize("tokens", [5120, 32_768])
def test_log_probabilities(shape: ModelShape, precision: Precision, tokens: int) -> None:
    measured, tokens = peak_of_forward(shape, groups(tokens), precision)
    assert logprob_memory(shape, precision, tokens).total == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tokens", [5120, 32_768])
def test_scoring(precision: Precision, tokens: int) -> None:
    shape = replace(LLAMA, layers=4)
    measured, tokens = peak_of_scoring(shape, groups(tokens), precision)
    assert scoring_memory(shape, precision, tokens).total == pytest.approx(measured, rel=0.05)


def test_the_tiles_are_those_of_the_head() -> None:
    assert rlhf.machine.memory.HEAD_TILE_TOKENS == TILE_TOKENS


REAL_TRAINING = """
import json, resource, sys
from dataclasses import replace
from accelerate import Accelerator
from measured_memory import groups, policy_of
from rlhf.machine.model_shapes import ModelShape
from rlhf.logprobs.responses import ResponseLogprobs, checkpoint_activations
from rlhf.training.loop import backward_batch
from rlhf.training.optimizers import make_optimizer
from small_models import random_pairs, train_spec

shape, recompute = ModelShape(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
spec = train_spec({"name": "simpo"}, learning_rate=1e-5)
accelerator = Accelerator(cpu=True)
(group,) = groups(990)
chosen, rejected = group.responses
ids = {"prompt_token_ids": group.prompt, "chosen_token_ids": chosen, "rejected_token_ids": rejected}
pairs = [replace(pair, **ids) for pair in random_pairs(2)]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

before = resident()
policy = policy_of(shape)
if recompute:
    checkpoint_activations(policy)
model = ResponseLogprobs(policy, 0.8)
optimizer = make_optimizer(model, spec.recipe)
for _ in range(3):
    backward_batch(model, pairs, spec, accelerator, 2048)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["keep", "recompute"])
def test_a_real_training_on_the_cpu(activations: Any) -> None:
    """By the memory that the system counts. Its tiles are of 2048 logits: the vocabulary has as many."""
    shape = ModelShape(10, 768, 2048, 12, 4, 64, 2048, 4096)
    command = [sys.executable, "-c", REAL_TRAINING, json.dumps(vars(shape)), json.dumps(activations == "recompute")]
    # What is freed goes back to the system at once, as the account of a GPU's memory would have it.
    settings = {"PYTHONPATH": f"{SCRIPTS}:{Path(__file__).parents[2]}/support", "MALLOC_MMAP_THRESHOLD_": "262144"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    expected = training_memory(shape, TrainingSetup("single", 1, activations, "float32"), 2 * 990).total
    assert expected == pytest.approx(float(done.stdout), rel=0.15)
