"""Strategy fsdp2 on two real processes, without GPUs: see `fsdp2_worker`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fsdp2_worker
from rlhf.base.settings import Precision
from rlhf.training.processes.accelerator import make_accelerator
from small_models import SCRIPTS, small_llama

SUPPORT = Path(__file__).parents[3] / "support"
Found = dict[str, Any]


def by_two_processes(precision: Precision, folder: Path) -> Found:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SUPPORT, SCRIPTS)))}
    command = [*torchrun, fsdp2_worker.__file__, precision, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return by_two_processes("bfloat16", tmp_path_factory.mktemp("fsdp2"))


def test_everything_between_processes_is_float32(found: Found) -> None:
    """By the policy that accelerate passes to `fully_shard`, after it has filled in its defaults."""
    for name in ("param_dtype", "reduce_dtype", "output_dtype"):
        assert found["types"][name] == "torch.float32"


@pytest.mark.parametrize("activations", ["kept", "recomputed"])
def test_log_probabilities_are_exactly_those_of_one_process(found: Found, activations: str) -> None:
    assert found[activations]["type"] == "torch.float32"
    assert found[activations]["equal"]


@pytest.mark.parametrize("activations", ["kept", "recomputed"])
def test_gradients_are_reduced_in_float32(found: Found, activations: str) -> None:
    assert found[activations]["gradient"] < 1e-6  # in bfloat16 it would be 1e-3


@pytest.mark.slow
def test_in_float32_the_trajectory_is_that_of_one_process(tmp_path: Path) -> None:
    found = by_two_processes("float32", tmp_path)
    assert found["kept"]["equal"]
    assert found["kept"]["gradient"] < 1e-6
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    expected = fsdp2_worker.trained(make_accelerator("single", 1, "float32", None, cpu=True))
    for row, one in zip(found["metrics"], expected.metrics, strict=True):
        for name, value in one.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-5)), name
    for name, tensor in expected.weights.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4)
        assert not tensor.equal(small_llama().state_dict()[name])
