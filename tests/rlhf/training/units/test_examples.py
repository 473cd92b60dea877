"""Training on examples, against a computation in float64, and its reference point, which depends on the batch alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from random_examples import random_examples, with_reference
from rlhf.base.errors import UserError
from rlhf.examples.schema import Example
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.training.loop import train
from rlhf.training.losses.kto import KtoSettings
from rlhf.training.units.example_loss import ExampleBatch
from rlhf.training.units.examples import ExampleUnit, reference_point
from small_models import direct_logprob, small_llama, train_spec, weights

TEMPERATURE = 0.8
KTO = {"name": "kto", "beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7}


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """With another model as their reference: neither log-ratios nor the reference point are zero."""
    found = with_reference(small_llama(seed=1, initializer_range=0.4), random_examples(12, seed=3), TEMPERATURE)
    assert exact(found)[0] > 0.5
    return found


@pytest.fixture(scope="module")
def own_examples() -> list[Example]:
    return with_reference(small_llama(), random_examples(24, seed=4), TEMPERATURE)


def exact(examples: list[Example]) -> tuple[float, float, torch.Tensor]:
    """Reference point, loss and gradient in the weights, in float64, one sequence at a time, from the paper."""
    policy = small_llama().double()

    def ratio(each: Example, response: Any, reference: float) -> torch.Tensor:
        return direct_logprob(policy, each.prompt_token_ids, response, TEMPERATURE) - reference

    with torch.no_grad():
        mismatched = [float(ratio(each, each.other_token_ids, each.other_logprob)) for each in examples]
    z = max(0.0, sum(mismatched) / len(mismatched))
    values = []
    for each in examples:
        r = ratio(each, each.response_token_ids, each.logprob)
        wanted, unwanted = 1 / (1 + torch.exp(-0.3 * (r - z))), 1 / (1 + torch.exp(-0.3 * (z - r)))
        values.append(1.5 * (1 - wanted) if each.desirable else 0.7 * (1 - unwanted))
    loss = torch.stack(values).mean()
    loss.backward()
    return z, loss.item(), gradient_of(policy)


def gradient_of(policy: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([each.grad.double().flatten() for each in policy.parameters() if each.grad is not None])


@pytest.mark.parametrize("token_budget", [1, 60, 10**6])
def test_loss_and_gradient_of_a_batch_are_those_of_float64_whatever_the_micro_batches(
    token_budget: int, examples: list[Example]
) -> None:
    policy = small_llama()
    model, spec = ResponseLogprobs(policy, TEMPERATURE), train_spec(KTO)
    found = ExampleUnit().backward(model, examples, spec, Accelerator(cpu=True), token_budget)
    _, loss, gradient = exact(examples)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert float((gradient_of(policy) - gradient).norm() / gradient.norm()) < 1e-4


def test_metrics_of_a_batch_are_means_of_the_two_kinds(examples: list[Example]) -> None:
    model, spec = ResponseLogprobs(small_llama(), TEMPERATURE), train_spec(KTO)
    now = with_reference(small_llama(), examples, TEMPERATURE)
    kinds = [
        [new.logprob - old.logprob for new, old in zip(now, examples, strict=True) if old.desirable == kind]
        for kind in (True, False)
    ]
    found = ExampleUnit().backward(model, examples, spec, Accelerator(cpu=True), 100)
    assert found["chosen_logratio"] == pytest.approx(np.mean(kinds[0]), rel=1e-4)
    assert found["rejected_logratio"] == pytest.approx(np.mean(kinds[1]), rel=1e-4)
    rewards = [np.mean([each.reward for each in examples if each.desirable == kind]) for kind in (True, False)]
    assert found["reward_gap"] == pytest.approx(rewards[0] - rewards[1])
    wanted = [each for each in examples if each.desirable]
    found = ExampleUnit().backward(model, wanted, spec, Accelerator(cpu=True), 100)
    assert (found["rejected_logratio"], found["reward_gap"]) == (None, None)


def test_validation_is_the_loss_and_the_share_on_the_right_side_of_the_reference_point(examples: list[Example]) -> None:
    model, spec = ResponseLogprobs(small_llama(), TEMPERATURE), train_spec(KTO)
    measured = ExampleUnit().measure(model, examples, spec, 100)
    z, loss, _ = exact(examples)
    now = with_reference(small_llama(), examples, TEMPERATURE)
    right = [(new.logprob - old.logprob > z) == old.desirable for new, old in zip(now, examples, strict=True)]
    assert 0 < np.mean(right) < 1
    assert measured.metrics() == {
        "validation_loss": pytest.approx(loss, rel=1e-5),
        "sign_agreement": pytest.approx(np.mean(right)),
    }
    assert ExampleUnit().measure(model, [], spec, 100).metrics() == {"validation_loss": None, "sign_agreement": None}


@given(st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=50))
def test_the_reference_point_is_the_mean_ratio_and_never_negative(ratios: list[float]) -> None:
    (example,) = random_examples(1)
    examples = [with_other_logprob(example, -1.0) for _ in ratios]
    found = reference_point(examples, torch.tensor([ratio - 1.0 for ratio in ratios], dtype=torch.float64))
    assert found == pytest.approx(max(0.0, math.fsum(ratios) / len(ratios)), abs=1e-9)


def with_other_logprob(example: Example, value: float) -> Example:
    return Example(**{name: getattr(example, name) for name in example.__slots__} | {"other_logprob": value})


@given(
    st.floats(-500, 0, width=32), st.floats(-500, 0, width=32), st.floats(0, 100), st.booleans(), st.floats(1e-3, 10)
)
def test_an_example_costs_at_most_its_weight_and_less_the_further_it_is_on_its_side(
    logprob: float, reference: float, point: float, desirable: bool, beta: float
) -> None:
    settings = KtoSettings(beta=beta, desirable_weight=2.0, undesirable_weight=0.5)

    def cost(value: float) -> float:
        tensors = (torch.tensor([number], dtype=torch.float64) for number in (value, reference))
        return float(settings.loss(ExampleBatch(*tensors, torch.tensor([desirable]), point)))

    better = logprob + (1.0 if desirable else -1.0)
    assert 0 <= cost(better) <= cost(logprob) <= (2.0 if desirable else 0.5)


def test_the_loss_falls_and_the_kinds_are_told_apart(own_examples: list[Example]) -> None:
    spec = train_spec({"name": "kto", "beta": 0.5}, batch_size=8, epochs=12, learning_rate=3e-3, max_grad_norm=1.0)
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    metrics = train(model, own_examples, own_examples, spec, Accelerator(cpu=True), 200).metrics
    assert metrics[0]["validation_loss"] == pytest.approx(0.5, abs=1e-4)  # all ratios and z are zero
    assert metrics[-1]["validation_loss"] < 0.15
    assert metrics[-1]["sign_agreement"] > 0.95
    assert metrics[-1]["chosen_logratio"] > metrics[-1]["rejected_logratio"] + 3


def test_a_wrong_reference_of_the_mismatched_responses_alone_stops_before_the_first_step(
    own_examples: list[Example],
) -> None:
    wrong = [with_other_logprob(each, each.other_logprob - (row == 5)) for row, each in enumerate(own_examples)]
    policy = small_llama()
    with pytest.raises(UserError, match=r"not the reference of its examples.*prompt-4-5 draw 2, the response to anoth"):
        train(ResponseLogprobs(policy, TEMPERATURE), wrong, [], train_spec(KTO), Accelerator(cpu=True), 200)
    assert torch.equal(weights(policy), weights(small_llama()))
