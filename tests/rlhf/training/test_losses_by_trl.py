"""Losses and their gradients in the weights of a small model, against TRL's `DPOTrainer` (`make trl-environment`)."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack
from rlhf.training.data import pair_batch
from rlhf.training.optimization.step import backward_batch
from small_models import CPU, random_pairs, small_llama, train_spec, with_reference

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHON = REPOSITORY / ".venv-trl/bin/python"
WORKER = REPOSITORY / "tests/support/trl_losses.py"
TEMPERATURE = 1.0
"""The only one that TRL knows."""
RPO = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7]}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dpo": ({"name": "dpo", "beta": 0.3}, {"loss_type": ["sigmoid"], "beta": 0.3}),
    "dpo_norm": ({"name": "dpo_norm", "beta": 5.0}, {"loss_type": ["sigmoid_norm"], "beta": 5.0}),
    "ipo": ({"name": "ipo", "tau": 0.2}, {"loss_type": ["ipo"], "beta": 0.2}),
    "hinge": ({"name": "hinge", "beta": 0.05}, {"loss_type": ["hinge"], "beta": 0.05}),
    "apo_zero": ({"name": "apo_zero", "beta": 0.3}, {"loss_type": ["apo_zero"], "beta": 0.3}),
    "robust": (
        {"name": "robust", "beta": 0.3, "label_smoothing": 0.2},
        {"loss_type": ["robust"], "beta": 0.3, "label_smoothing": 0.2},
    ),
    "exo": (
        {"name": "exo", "beta": 0.3, "label_smoothing": 1e-3},
        {"loss_type": ["exo_pair"], "beta": 0.3, "label_smoothing": 1e-3},
    ),
    "nca": ({"name": "nca", "beta": 0.3}, {"loss_type": ["nca_pair"], "beta": 0.3}),
    "sft": ({"name": "sft"}, {"loss_type": ["sft"]}),
    "rpo": ({"name": "dpo", "beta": 0.3, "sft_weight": 0.7}, {**RPO, "beta": 0.3}),
    "wpo": ({"name": "dpo", "beta": 0.3, "wpo": True}, {"loss_type": ["sigmoid"], "beta": 0.3, "use_weighting": True}),
    "weighted rpo": (
        {"name": "dpo", "beta": 0.3, "sft_weight": 0.7, "wpo": True},
        {**RPO, "beta": 0.3, "use_weighting": True},
    ),
    "weighted ipo": (
        {"name": "ipo", "tau": 0.2, "wpo": True},
        {"loss_type": ["ipo"], "beta": 0.2, "use_weighting": True},
    ),
}
"""Our settings of a loss, and TRL's. TRL averages `sft` over the tokens of a batch; batches of one pair are as ours."""


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Pairs whose reference is another model than the policy."""
    return with_reference(small_llama(seed=1, initializer_range=0.1), random_pairs(7, seed=5), TEMPERATURE)


@pytest.fixture(scope="module")
def by_trl(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, torch.Tensor]]:
    """Of each case, the mean loss and its gradient by TRL."""
    if not (REPOSITORY / ".venv-trl/installed").exists():
        pytest.skip("there is no environment with TRL: `make trl-environment` makes it")
    policy = small_llama()
    rows = [
        {
            "prompt_ids": list(pair.prompt_token_ids),
            "chosen_ids": list(pair.chosen_token_ids),
            "rejected_ids": list(pair.rejected_token_ids),
            "ref_chosen_logps": pair.chosen_logprob,
            "ref_rejected_logps": pair.rejected_logprob,
        }
        for pair in pairs
    ]
    folder = tmp_path_factory.mktemp("trl")
    cases = {name: settings for name, (_, settings) in CASES.items()}
    work = {"config": policy.config.to_dict(), "weights": policy.state_dict(), "pairs": rows, "cases": cases}
    torch.save(work, folder / "work.pt")
    sources = os.pathsep.join(map(str, [REPOSITORY / "tests/support", REPOSITORY / "scripts"]))
    done = subprocess.run(
        [PYTHON, WORKER, folder / "work.pt", folder / "found.pt"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": sources},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, tuple[float, torch.Tensor]] = torch.load(folder / "found.pt")
    return found


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_those_of_trl(
    case: str, pairs: list[Pair], by_trl: dict[str, tuple[float, torch.Tensor]]
) -> None:
    spec = train_spec(CASES[case][0], temperature=TEMPERATURE)
    batch = pairs if spec.loss.needs_rejected else [replace(pair, rejected_token_ids=[]) for pair in pairs]
    policy = small_llama()
    model = ResponseLogprobs(policy, TEMPERATURE)
    with torch.no_grad():
        logprobs = model(Pack([pair.prompt_group for pair in batch], CPU), spec.loss.wpo)
        computed = pair_batch(batch, *logprobs.unflatten(0, (-1, 2)).unbind(1))
        value = float((spec.loss.objective(computed) * spec.loss.pair_weight(computed)).mean())
    backward_batch(model, batch, spec, Accelerator(cpu=True), 10**6)
    gradient = torch.cat([parameter.grad.flatten() for parameter in policy.parameters() if parameter.grad is not None])
    expected_value, expected = by_trl[case]
    assert value == pytest.approx(expected_value, rel=1e-5)
    assert float(expected.norm()) > 1e-3
    assert float((gradient - expected).norm() / expected.norm()) < 1e-5
