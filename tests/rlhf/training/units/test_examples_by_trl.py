"""KTO's value, reference point and gradient in the weights of a small model, against TRL's `KTOTrainer`."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from random_examples import random_examples, with_reference
from rlhf.examples.schema import Example
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.training.units.examples import ExampleUnit
from small_models import small_llama, train_spec

REPOSITORY = Path(__file__).resolve().parents[4]
PYTHON = REPOSITORY / ".venv-trl/bin/python"
TEMPERATURE = 1.0
"""The only one that TRL knows."""


def by_trl(batches: list[list[Example]], options: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    small_llama().save_pretrained(folder / "policy")
    rows = [
        [
            {
                "prompt_ids": each.prompt_token_ids,
                "completion_ids": each.response_token_ids,
                "KL_completion_ids": each.other_token_ids,
                "label": each.desirable,
                "ref_logps": each.logprob,
                "ref_KL_logps": each.other_logprob,
            }
            for each in batch
        ]
        for batch in batches
    ]
    given, found = folder / "given.json", folder / "found.json"
    given.write_text(json.dumps({"policy": str(folder / "policy"), "batches": rows, "options": options}))
    paths = [REPOSITORY / "scripts", REPOSITORY / "tests/support"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HOME": str(folder / "cache")}
    worker = REPOSITORY / "tests/support/trl_kto.py"
    done = subprocess.run([PYTHON, worker, given, found], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(found.read_text())


@pytest.mark.skipif(not (REPOSITORY / ".venv-trl/installed").exists(), reason="TRL's environment is not installed")
def test_value_reference_point_and_gradient_are_those_of_trl(tmp_path: Path) -> None:
    """Desirable and undesirable examples in unequal numbers, with weights; z above 0, and cut off at 0."""
    reference = with_reference(small_llama(seed=1, initializer_range=0.1), random_examples(9, seed=5), TEMPERATURE)
    policy = with_reference(small_llama(), reference, TEMPERATURE)
    ratios = (2.0, -20.0)  # of every mismatched response
    batches = [
        [replace(each, other_logprob=now.other_logprob - ratio) for each, now in zip(reference, policy, strict=True)]
        for ratio in ratios
    ]
    options = {"beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7}
    for batch, ratio, theirs in zip(batches, ratios, by_trl(batches, options, tmp_path), strict=True):
        assert theirs["kl"] == pytest.approx(max(ratio, 0.0), abs=1e-4)
        loss, gradient = by_pipeline(batch, {"name": "kto", **options})
        assert loss == pytest.approx(theirs["loss"], rel=1e-5)
        expected = torch.tensor(theirs["gradient"])
        assert float(expected.norm()) > 1e-2
        assert float((gradient - expected).norm() / expected.norm()) < 1e-4


def by_pipeline(batch: list[Example], loss: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Value and gradient, in several micro-batches."""
    policy = small_llama()
    model = ResponseLogprobs(policy, TEMPERATURE)
    spec = train_spec(loss, temperature=TEMPERATURE)
    found = ExampleUnit().backward(model, batch, spec, Accelerator(cpu=True), 60)
    return found["loss"], torch.cat([each.grad.flatten() for each in policy.parameters() if each.grad is not None])
