"""The training loop against a plain AdamW step; micro-batches and repeated runs make no difference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.training.data import epoch_order
from rlhf.training.loop import train
from rlhf.training.optimization.step import count_tokens
from rlhf.training.schema import TRAINING
from rlhf.training.settings import TrainSpec
from small_models import random_pairs, small_llama, step_by_hand, train_spec, weights, with_reference

TEMPERATURE = 0.8
REBEL = {"name": "rebel", "eta": 10.0}
DPO = {"name": "dpo", "beta": 0.5}
SIMPO = {"name": "simpo", "beta": 2.5, "gamma": 1.0}
WEIGHTED = {**DPO, "sft_weight": 0.3, "wpo": True}
LOSSES = [REBEL, DPO, SIMPO]
LEARNT: list[tuple[dict[str, Any], float]] = [
    (REBEL, 0.2),
    (DPO, 0.2),
    (SIMPO, 0.2),
    ({"name": "robust", "beta": 0.5}, 0.0),
    ({"name": "exo", "beta": 0.5}, 0.2),
    ({"name": "nca", "beta": 0.5}, 0.75),
    ({"name": "sft"}, 0.3),
    ({"name": "dpo_norm", "beta": 5.0}, 0.2),
    (WEIGHTED, 0.6),
]
"""Losses, and what is left of them on a toy problem. NCA's least is 0.69 of its start; robust DPO falls below zero."""
ALL_AT_ONCE = 10**6


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(32, seed=3), TEMPERATURE)


@pytest.fixture(scope="module")
def validation_pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(6, seed=4), TEMPERATURE)


def run(
    pairs: list[Pair],
    validation_pairs: list[Pair],
    spec: TrainSpec,
    token_budget: int = ALL_AT_ONCE,
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    policy = small_llama()
    model = ResponseLogprobs(policy, spec.temperature)
    return policy, train(model, pairs, validation_pairs, spec, Accelerator(cpu=True), token_budget).metrics


# --- one step, by hand


# An epsilon of the gradient's size: the step is smooth in it, and float32 can be compared to float64.
STEP: dict[str, Any] = {"batch_size": 32, "learning_rate": 1e-3, "adam_epsilon": 1e-2, "weight_decay": 0.1}


@pytest.mark.parametrize("loss", [*LOSSES, WEIGHTED], ids=repr)
@pytest.mark.parametrize("max_grad_norm", [None, 0.05, 1e3])
def test_a_step_is_that_of_adamw_on_the_mean_loss(
    loss: dict[str, Any],
    max_grad_norm: float | None,
    pairs: list[Pair],
    validation_pairs: list[Pair],
) -> None:
    spec = train_spec(loss, max_grad_norm=max_grad_norm, **STEP)
    policy, metrics = run(pairs, validation_pairs, spec, token_budget=200)
    expected, expected_loss, expected_norm = step_by_hand(pairs, spec, max_grad_norm)
    moved = expected - weights(small_llama())
    assert float(moved.norm()) > 1e-3
    assert float((weights(policy) - expected).norm() / moved.norm()) < 2e-3
    assert [row["step"] for row in metrics] == [0, 1]
    assert metrics[1]["loss"] == pytest.approx(expected_loss, rel=1e-4)
    assert metrics[1]["grad_norm"] == pytest.approx(expected_norm, rel=1e-4)  # before clipping
    assert metrics[1]["learning_rate"] == 1e-3


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["name"])
def test_the_token_budget_does_not_change_the_weights(
    loss: dict[str, Any], pairs: list[Pair], validation_pairs: list[Pair]
) -> None:
    """Two steps of 16 pairs, one pair at a time and all at once."""
    recipe = {**STEP, "batch_size": 16}
    one_by_one, first = run(pairs, validation_pairs, train_spec(loss, **recipe), token_budget=1)
    together, second = run(pairs, validation_pairs, train_spec(loss, **recipe))
    assert float((weights(one_by_one) - weights(together)).abs().max()) < 1e-5
    for row, other in zip(first, second, strict=True):
        assert row["tokens"] == other["tokens"]
        for name in ("loss", "validation_loss", "grad_norm", "chosen_logratio"):
            assert (row.get(name) is None) == (other.get(name) is None)
            assert row.get(name) is None or row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4)


def test_a_step_does_not_see_the_gradient_of_the_one_before(pairs: list[Pair]) -> None:
    """With weights that stay where they are: every step's norm is that of its own batch, by hand."""
    spec = train_spec(DPO, batch_size=8, learning_rate=1e-12)
    _, metrics = run(pairs, [], spec)
    order = epoch_order(32, spec.seed, 0).tolist()
    for step, row in enumerate(metrics[1:]):
        batch = [pairs[index] for index in order[8 * step : 8 * step + 8]]
        assert row["grad_norm"] == pytest.approx(step_by_hand(batch, spec)[2], rel=1e-3)


# --- whole runs


@pytest.mark.parametrize(("loss", "left"), LEARNT, ids=repr)
def test_the_loss_falls_on_a_toy_problem(loss: dict[str, Any], left: float, pairs: list[Pair]) -> None:
    spec = train_spec(loss, batch_size=8, epochs=8, learning_rate=3e-3, max_grad_norm=1.0, validation_interval=10)
    if not spec.loss.needs_rejected:
        pairs = [replace(pair, rejected_token_ids=[]) for pair in pairs]
    _, metrics = run(pairs, pairs, spec)
    assert metrics[-1]["validation_loss"] < left * metrics[0]["validation_loss"]
    losses = [row["loss"] for row in metrics[1:]]
    assert np.mean(losses[-4:]) < (left + 0.2) * np.mean(losses[:4])
    if spec.loss.needs_reference:
        assert metrics[-1]["sign_agreement"] > 0.95
    assert spec.loss.needs_rejected or metrics[-1]["sign_agreement"] is None


def test_two_runs_are_bit_identical(pairs: list[Pair], validation_pairs: list[Pair]) -> None:
    spec = train_spec(REBEL, batch_size=8, learning_rate=1e-3)
    first, first_metrics = run(pairs, validation_pairs, spec, token_budget=100)
    second, second_metrics = run(pairs, validation_pairs, spec, token_budget=100)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(small_llama()))
    assert first_metrics == second_metrics


def test_another_seed_is_another_order(pairs: list[Pair], validation_pairs: list[Pair]) -> None:
    first, second = (run(pairs, [], train_spec(DPO, seed=seed, batch_size=8, learning_rate=1e-3)) for seed in (1, 2))
    assert not torch.equal(weights(first[0]), weights(second[0]))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["name"])
def test_the_metrics_are_the_artifact(
    loss: dict[str, Any], pairs: list[Pair], validation_pairs: list[Pair], tmp_path: Path
) -> None:
    """A row per step; steps, epochs and tokens add up; validation at the start, at intervals and at the end."""
    spec = train_spec(loss, batch_size=5, epochs=2, learning_rate=1e-4, validation_interval=4)
    _, metrics = run(pairs, validation_pairs, spec)
    TRAINING.check(pa.Table.from_pylist(metrics, schema=TRAINING.schema), tmp_path / "training.parquet")
    assert set().union(*metrics) <= set(TRAINING.schema.names)
    assert [row["step"] for row in metrics] == list(range(13))  # 2 epochs of 6 batches of 5; 2 pairs are left over
    assert [metrics[step]["epoch"] for step in (0, 6, 12)] == [0.0, 1.0, 2.0]
    validated = [row["step"] for row in metrics if row.get("validation_loss") is not None]
    assert validated == [0, 4, 8, 12]
    order = [*epoch_order(32, spec.seed, 0).tolist()[:30], *epoch_order(32, spec.seed, 1).tolist()[:30]]
    assert metrics[-1]["tokens"] == sum(count_tokens(pairs[index]) for index in order)
    assert metrics[0]["tokens"] == 0
    first_batch = [pairs[index] for index in order[:5]]
    gaps = [pair.chosen_reward - pair.rejected_reward for pair in first_batch]
    assert metrics[1]["reward_gap"] == pytest.approx(np.mean(gaps), rel=1e-5)
    for row in metrics[1:]:
        assert (row["chosen_logratio"] is not None) == spec.loss.needs_reference
        assert (row["rejected_logratio"] is not None) == spec.loss.needs_reference
    if spec.loss.needs_reference:
        assert metrics[1]["chosen_logratio"] == pytest.approx(0, abs=1e-4)
        assert metrics[-1]["chosen_logratio"] != pytest.approx(0, abs=1e-4)


def test_the_published_scaling_of_rebel_is_reported(pairs: list[Pair]) -> None:
    """At the reference d is 0: the loss is (eta dr)^2, whatever eta was divided by."""
    for eta in (0.5, 1e6):
        _, metrics = run(pairs, pairs, train_spec({"name": "rebel", "eta": eta}, batch_size=32, learning_rate=1e-6))
        gaps = np.array([pair.chosen_reward - pair.rejected_reward for pair in pairs])
        expected = float(np.mean((eta * gaps) ** 2))
        assert metrics[1]["loss"] == pytest.approx(expected, rel=1e-3)
        assert metrics[0]["validation_loss"] == pytest.approx(expected, rel=1e-3)
        assert metrics[1]["grad_norm"] < 1e3


def test_fewer_pairs_than_a_batch_are_one_batch(pairs: list[Pair]) -> None:
    _, metrics = run(pairs[:3], [], train_spec(DPO, batch_size=16, epochs=2))
    assert [row["step"] for row in metrics] == [0, 1, 2]
    assert metrics[1]["tokens"] == sum(map(count_tokens, pairs[:3]))


# --- what stops a run


def test_no_pairs() -> None:
    with pytest.raises(UserError, match="no pairs to train on"):
        run([], [], train_spec(DPO))


@pytest.mark.parametrize("loss", [REBEL, DPO], ids=lambda loss: loss["name"])
def test_a_loss_that_is_not_finite_stops_and_names_its_pairs(loss: dict[str, Any], pairs: list[Pair]) -> None:
    """The first batch is fine, and its step throws the weights far away; they are left as they were after it."""
    spec = train_spec(loss, batch_size=4, warmup=0.0)
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"learning_rate": 1e30})})
    second = epoch_order(32, spec.seed, 0).tolist()[4:8]
    policy = small_llama()
    with pytest.raises(UserError, match=r"step 2: .* the norm of its gradient nan") as error:
        train(ResponseLogprobs(policy, TEMPERATURE), pairs, [], spec, Accelerator(cpu=True), ALL_AT_ONCE)
    named = [pair.prompt_id for pair in pairs if pair.prompt_id in str(error.value).replace(",", "").split()]
    assert sorted(named) == sorted(pairs[index].prompt_id for index in second)
    assert weights(policy).isfinite().all()


def test_a_wrong_reference_stops_before_the_first_step(pairs: list[Pair]) -> None:
    wrong = [replace(pair, chosen_logprob=pair.chosen_logprob - 1) for pair in pairs]
    policy = small_llama()
    with pytest.raises(UserError, match="not the reference of its pairs"):
        train(ResponseLogprobs(policy, TEMPERATURE), pairs, wrong, train_spec(DPO), Accelerator(cpu=True), ALL_AT_ONCE)
    assert torch.equal(weights(policy), weights(small_llama()))


def test_one_training_part_of_another_model_stops_before_the_first_step(
    pairs: list[Pair], validation_pairs: list[Pair]
) -> None:
    """Validation and the first batch are right; the third part of eight is wrong."""
    spec = train_spec(DPO, batch_size=1)
    other = with_reference(small_llama(seed=1), pairs[8:12], TEMPERATURE)
    mixed = [*pairs[:8], *other, *pairs[12:]]
    assert epoch_order(32, spec.seed, 0).tolist()[0] not in range(8, 12)
    policy = small_llama()
    with pytest.raises(UserError, match=r"log-ratios of 32 pairs .* pair pair-3-(8|9|10|11), (chosen|rejected)"):
        train(ResponseLogprobs(policy, TEMPERATURE), mixed, validation_pairs, spec, Accelerator(cpu=True), ALL_AT_ONCE)
    assert torch.equal(weights(policy), weights(small_llama()))
