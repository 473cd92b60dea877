"""The check at step 0, and the values of a validation."""

import math
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from rlhf.errors import UserError
from rlhf.losses import PairBatch
from rlhf.pair_logprobs import pair_logprobs
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.training import TrainSpec
from rlhf.validation import START_TOLERANCE, Validation, check_start, validate
from small_models import random_pairs, small_llama, train_spec, with_reference

DPO = train_spec({"name": "dpo", "beta": 2.0})
SIMPO = train_spec({"name": "simpo", "beta": 2.0, "gamma": 0.5})
TEMPERATURE = 0.8


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    return with_reference(small_llama(), random_pairs(20, seed=5), TEMPERATURE)


def start(pairs: list[dict[str, Any]], spec: TrainSpec = DPO, seed: int = 0, temperature: float = TEMPERATURE) -> None:
    model = ResponseLogprobs(small_llama(seed=seed), temperature)
    check_start(validate(model, pairs, spec, 200, Accelerator(cpu=True)), pairs, spec)


def test_the_right_reference_is_accepted(pairs: list[dict[str, Any]]) -> None:
    start(pairs)
    start([])


def test_another_model_or_temperature_is_refused(pairs: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="at step 0 the policy is not the reference"):
        start(pairs, seed=1)
    with pytest.raises(UserError, match="at step 0 the policy is not the reference"):
        start(pairs, temperature=0.81)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_wrong_side_of_one_pair_is_refused_by_name(pairs: list[dict[str, Any]], side: str, sign: int) -> None:
    tokens = len(pairs[13][f"{side}_token_ids"])
    for factor in (0.5, 2.0):
        moved = pairs[13][f"{side}_logprob"] + sign * factor * START_TOLERANCE["float32"] * tokens
        wrong = [{**pair, f"{side}_logprob": moved} if row == 13 else pair for row, pair in enumerate(pairs)]
        if factor < 1:
            start(wrong)
            continue
        with pytest.raises(UserError, match=f"log-ratio of pair {pairs[13]['prompt_id']} is 0.000(19|2)"):
            start(wrong)


def test_a_log_ratio_that_is_not_a_number_is_refused(pairs: list[dict[str, Any]]) -> None:
    wrong = [{**pair, "chosen_logprob": math.nan} if row == 2 else pair for row, pair in enumerate(pairs)]
    with pytest.raises(UserError, match=f"pair {pairs[2]['prompt_id']} is nan"):
        start(wrong)


def test_a_loss_without_a_reference_is_not_checked(pairs: list[dict[str, Any]]) -> None:
    start(random_pairs(5), spec=SIMPO, seed=1)


def test_bfloat16_agrees_with_its_own_reference_whatever_the_batches(pairs: list[dict[str, Any]]) -> None:
    """The tolerance of bfloat16 covers what another batch makes of it."""
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    chosen, rejected = pair_logprobs(model, pairs, "bfloat16", token_budget=1)
    own = [
        {**pair, "chosen_logprob": c, "rejected_logprob": r} for pair, c, r in zip(pairs, chosen, rejected, strict=True)
    ]
    spec = DPO.model_copy(update={"precision": "bfloat16"})
    check_start(validate(model, own, spec, 10**6, Accelerator(cpu=True)), own, spec)


def batch(differences: list[float]) -> PairBatch:
    """Log-ratio differences, half of each on either side; responses of two tokens."""
    half = torch.tensor(differences) / 2
    zero, two = torch.zeros_like(half), torch.full_like(half, 2.0)
    return PairBatch(half, -half, zero, zero, zero + 1, zero, half, half, two, two)


def test_sign_agreement_and_loss_by_hand() -> None:
    metrics = Validation(batch([1.0, -1.0, 0.0, 3.0, 0.5]), DPO).metrics()
    assert metrics["sign_agreement"] == pytest.approx(3 / 5)  # a difference of zero does not agree
    expected = sum(math.log1p(math.exp(-2.0 * d)) for d in (1.0, -1.0, 0.0, 3.0, 0.5)) / 5
    assert metrics["validation_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_rebel_has_its_published_scaling() -> None:
    spec = train_spec({"name": "rebel", "eta": 100.0})
    metrics = Validation(batch([1.0, 4.0]), spec).metrics()
    assert metrics["validation_loss"] == pytest.approx(((1 - 100) ** 2 + (4 - 100) ** 2) / 2, rel=1e-6)


def test_without_pairs_and_without_a_reference() -> None:
    without_pairs = {"validation_loss": None, "sign_agreement": None}
    assert Validation(batch([]), DPO).metrics() == without_pairs
    metrics = Validation(batch([1.0]), SIMPO).metrics()
    assert metrics["sign_agreement"] == 1.0
    assert metrics["validation_loss"] == pytest.approx(math.log1p(math.exp(-(2.0 * (0.25 + 0.25) - 0.5))), rel=1e-6)
