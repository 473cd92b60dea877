"""The check at step 0, and the metrics of a validation."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.training.loss import PairBatch
from rlhf.training.settings import TrainSpec
from rlhf.training.validation import Validation, check_start, spread, validate
from small_models import random_pairs, small_llama, train_spec, with_reference

DPO = train_spec({"name": "dpo", "beta": 2.0})
SIMPO = train_spec({"name": "simpo", "beta": 2.0, "gamma": 0.5})
TEMPERATURE = 0.8
(ONE_PAIR,) = random_pairs(1)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(20, seed=5), TEMPERATURE)


def start(pairs: list[Pair], spec: TrainSpec = DPO, seed: int = 0, temperature: float = TEMPERATURE) -> None:
    model = ResponseLogprobs(small_llama(seed=seed), temperature)
    check_start(validate(model, pairs, spec, 200, Accelerator(cpu=True)), pairs, spec)


def test_the_right_reference_is_accepted(pairs: list[Pair]) -> None:
    start(pairs)
    start([])


@pytest.mark.parametrize("wrong", [{"seed": 1}, {"temperature": 0.81}, {"temperature": 1.0}], ids=str)
def test_another_model_or_temperature_is_refused(pairs: list[Pair], wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="the policy is not the reference of its pairs: before the first step"):
        start(pairs, **wrong)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_one_wrong_side_is_refused(pairs: list[Pair], side: str) -> None:
    column = f"{side}_logprob"
    other = with_reference(small_llama(seed=1), pairs, TEMPERATURE)
    with pytest.raises(UserError, match=f", {side} response: "):
        start([replace(pair, **{column: getattr(wrong, column)}) for pair, wrong in zip(pairs, other, strict=True)])


def test_the_worst_responses_are_named_by_what_their_length_explains(pairs: list[Pair]) -> None:
    """A log-ratio of 0.4 over 1 token is worse than one of 0.5 over 10 tokens."""
    short = next(row for row, pair in enumerate(pairs) if len(pair.chosen_token_ids) == 1)
    long = next(row for row, pair in enumerate(pairs) if len(pair.rejected_token_ids) == 10)
    pairs = list(pairs)
    pairs[short] = replace(pairs[short], chosen_logprob=pairs[short].chosen_logprob + 0.4)
    pairs[long] = replace(pairs[long], rejected_logprob=pairs[long].rejected_logprob - 0.5)
    with pytest.raises(UserError) as error:
        start(pairs)
    worst = f"pair {pairs[short].prompt_id}, chosen response: -0.4 over 1 tokens"
    second = f"pair {pairs[long].prompt_id}, rejected response: 0.5 over 10 tokens"
    assert f"The worst are of {worst}; {second}; pair " in str(error.value)
    tokens = sum(len(pair.chosen_token_ids) + len(pair.rejected_token_ids) for pair in pairs)
    expected = math.sqrt((0.4**2 + 0.5**2) / tokens)
    assert f"log-ratios of 20 pairs are {expected:.3g} per token" in str(error.value)


def test_a_log_ratio_that_is_not_a_number_is_refused(pairs: list[Pair]) -> None:
    wrong = [replace(pair, chosen_logprob=math.nan) if row == 2 else pair for row, pair in enumerate(pairs)]
    with pytest.raises(UserError, match=f"The worst are of pair {pairs[2].prompt_id}, chosen response: nan"):
        start(wrong)


def test_a_loss_without_a_reference_is_not_checked(pairs: list[Pair]) -> None:
    start(random_pairs(5), spec=SIMPO, seed=1)


def test_bfloat16_agrees_with_its_own_reference_whatever_the_batches(pairs: list[Pair]) -> None:
    """The tolerance of bfloat16 covers what another batch makes of it."""
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    chosen, rejected = pair_logprobs(model, pairs, "bfloat16", token_budget=1)
    own = [
        replace(pair, chosen_logprob=c, rejected_logprob=r) for pair, c, r in zip(pairs, chosen, rejected, strict=True)
    ]
    spec = DPO.model_copy(update={"precision": "bfloat16"})
    check_start(validate(model, own, spec, 10**6, Accelerator(cpu=True)), own, spec)


seeds = st.integers(0, 2**32 - 1)


def lengths(shortest: int, longest: int, pairs: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    tokens = st.integers(shortest, longest)
    return st.lists(st.tuples(tokens, tokens), min_size=pairs, max_size=200)


def check(logratios: torch.Tensor, tokens: torch.Tensor, precision: Precision) -> None:
    """Run `check_start` on pairs with these log-ratios, (pairs, 2)."""
    (chosen, rejected), zero = logratios.float().unbind(1), torch.zeros(len(logratios))
    found = PairBatch(chosen, rejected, zero, zero, zero, zero, zero, zero, *tokens.float().unbind(1))
    pairs = [replace(ONE_PAIR, prompt_id=f"pair-{index}") for index in range(len(logratios))]
    check_start(validation(found, DPO, pairs=pairs), pairs, DPO.model_copy(update={"precision": precision}))


def rounding(tokens: torch.Tensor, precision: Precision, generator: torch.Generator) -> torch.Tensor:
    """Sums over each response's tokens of independent errors, as large as between two machines."""
    size = {"float32": 5e-5, "bfloat16": 0.05}[precision]
    return size * tokens.sqrt() * torch.randn(tokens.shape, generator=generator)


@given(lengths(20, 2000, pairs=8), seeds, st.sampled_from(["float32", "bfloat16"]))
def test_rounding_with_one_short_uncertain_response_is_accepted(
    responses: list[tuple[int, int]], seed: int, precision: Precision
) -> None:
    """A response of one token that is off by 20 times as much as the others, as an unlikely token is."""
    tokens = torch.tensor(responses)
    tokens[0, 0] = 1
    logratios = rounding(tokens, precision, torch.Generator().manual_seed(seed))
    logratios[0, 0] = {"float32": 1e-3, "bfloat16": 1.0}[precision] / 2
    check(logratios, tokens, precision)


@given(
    lengths(200, 800, pairs=64),
    seeds,
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from([(True, True), (True, False), (False, True)]),
    st.sampled_from([1, -1]),
)
def test_a_shift_in_one_part_of_eight_is_refused(
    responses: list[tuple[int, int]], seed: int, precision: Precision, sides: tuple[bool, bool], sign: int
) -> None:
    """By a tenth per token, on both sides or on one."""
    tokens = torch.tensor(responses)
    logratios = rounding(tokens, precision, torch.Generator().manual_seed(seed))
    part = slice(len(responses) // 8, 2 * (len(responses) // 8))
    logratios[part] += sign * 0.1 * tokens[part] * torch.tensor(sides)
    with pytest.raises(UserError, match="not the reference"):
        check(logratios, tokens, precision)


@given(st.integers(0, 400), st.integers(1, 200))
def test_spread_pairs_are_of_every_part(count: int, wanted: int) -> None:
    pairs = [ONE_PAIR] * count
    found = spread([replace(pair, prompt_id=str(number)) for number, pair in enumerate(pairs)], wanted)
    numbers = [int(pair.prompt_id) for pair in found]
    assert len(numbers) == len(set(numbers)) == min(count, wanted)
    steps = [later - earlier for earlier, later in pairwise([*numbers, count])]
    assert not steps or max(steps) - min(steps) <= 1


def batch(differences: list[float]) -> PairBatch:
    """A batch with these log-ratio differences, split evenly over both sides; responses of two tokens."""
    half = torch.tensor(differences) / 2
    zero, two = torch.zeros_like(half), torch.full_like(half, 2.0)
    return PairBatch(half, -half, zero, zero, zero + 1, zero, half, half, two, two)


def validation(
    found: PairBatch, spec: TrainSpec, weights: list[float] | None = None, pairs: Sequence[Pair] = ()
) -> Validation:
    """Of pairs that count the same, unless other weights are given."""
    return Validation(found, spec, torch.tensor(weights or [1.0] * len(found.chosen_logprob)), pairs)


def test_sign_agreement_and_loss_by_hand() -> None:
    metrics = validation(batch([1.0, -1.0, 0.0, 3.0, 0.5]), DPO).metrics()
    assert metrics["sign_agreement"] == pytest.approx(3 / 5)  # a difference of zero does not agree
    expected = sum(math.log1p(math.exp(-2.0 * d)) for d in (1.0, -1.0, 0.0, 3.0, 0.5)) / 5
    assert metrics["validation_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_means_are_weighted() -> None:
    metrics = validation(batch([1.0, -1.0, 3.0]), DPO, [1.0, 0.5, 0.5]).metrics()
    assert metrics["sign_agreement"] == pytest.approx(3 / 4)
    first, *others = (math.log1p(math.exp(-2.0 * d)) for d in (1.0, -1.0, 3.0))
    assert metrics["validation_loss"] == pytest.approx((first + sum(others) / 2) / 2, rel=1e-6)


def test_the_loss_of_rebel_has_its_published_scaling() -> None:
    spec = train_spec({"name": "rebel", "eta": 100.0})
    metrics = validation(batch([1.0, 4.0]), spec).metrics()
    assert metrics["validation_loss"] == pytest.approx(((1 - 100) ** 2 + (4 - 100) ** 2) / 2, rel=1e-6)


def test_without_pairs_and_without_a_reference() -> None:
    without_pairs = {"validation_loss": None, "sign_agreement": None}
    assert validation(batch([]), DPO).metrics() == without_pairs
    metrics = validation(batch([1.0]), SIMPO).metrics()
    assert metrics["sign_agreement"] == 1.0
    assert metrics["validation_loss"] == pytest.approx(math.log1p(math.exp(-(2.0 * (0.25 + 0.25) - 0.5))), rel=1e-6)
