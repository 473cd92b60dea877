"""Sampling against the definition: one sequence at a time, without a cache, the nucleus by sorting."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from rlhf.engine_transformers import (
    FIRST_NUCLEUS_CANDIDATES,
    TransformersEngine,
    nucleus_threshold,
    random_stream,
    sample_tokens,
)
from rlhf.engines import Completion, Request, SamplingSettings
from rlhf.errors import UserError
from rlhf.progress import Progress
from small_models import CPU, STOP_IDS, random_ids, save_small_policy, small_llama

SAMPLING = SamplingSettings(temperature=0.8, top_p=0.9, max_tokens=16)


def nucleus(probabilities: np.ndarray, top_p: float) -> np.ndarray:
    """The distribution that is sampled: the fewest most likely tokens that reach top_p, and what is tied with them."""
    ordered = np.sort(probabilities)[::-1].astype(np.float64)
    total = 0.0
    for smallest in ordered:
        total += smallest
        if total >= top_p:
            break
    kept = np.where(probabilities >= smallest, probabilities, 0).astype(np.float64) if top_p < 1 else probabilities
    return kept / kept.sum()


def draw(probabilities: np.ndarray, uniform: float) -> int:
    """Inversion: the first token, by id, whose cumulative probability exceeds the uniform number."""
    total = 0.0
    for token, probability in enumerate(probabilities):
        total += probability
        if total > uniform:
            return token
    return int(np.flatnonzero(probabilities)[-1])


@st.composite
def distributions(draw_value: st.DrawFn) -> np.ndarray:
    """float32 probabilities of 1 to 300 tokens: flat, peaked, with ties."""
    size = draw_value(st.integers(1, 300))
    seed = draw_value(st.integers(0, 2**32 - 1))
    scale = draw_value(st.sampled_from([0.0, 0.1, 1.0, 5.0]))
    logits = scale * np.random.default_rng(seed).standard_normal(size)
    logits = np.round(logits, draw_value(st.sampled_from([0, 6])))
    return torch.softmax(torch.tensor(logits, dtype=torch.float32), dim=-1).numpy()


@given(distributions(), st.floats(0.01, 1.0))
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(probabilities: np.ndarray, top_p: float) -> None:
    threshold = float(nucleus_threshold(torch.tensor(probabilities)[None], top_p))
    kept = probabilities >= threshold
    assert set(np.flatnonzero(kept)) == set(np.flatnonzero(nucleus(probabilities, top_p)))


@given(distributions(), st.floats(0.01, 0.999))
def test_the_nucleus_reaches_top_p_and_needs_its_least_likely_token(probabilities: np.ndarray, top_p: float) -> None:
    threshold = float(nucleus_threshold(torch.tensor(probabilities)[None], top_p))
    exact = probabilities.astype(np.float64)
    assert exact[exact >= threshold].sum() >= min(top_p, exact.sum()) - 1e-12
    assert exact[exact > threshold].sum() < top_p + 1e-12


@pytest.mark.parametrize(("top_p", "smallest"), [(0.5, 0.5), (0.500001, 0.25), (0.75, 0.25), (0.76, 0.125), (1.0, 0.0)])
def test_a_set_that_reaches_top_p_exactly_is_enough(top_p: float, smallest: float) -> None:
    assert float(nucleus_threshold(torch.tensor([[0.125, 0.5, 0.125, 0.25]]), top_p)) == smallest


def test_a_nucleus_wider_than_the_first_candidates() -> None:
    """Beside a peaked row, so that one row alone asks for more candidates."""
    flat = torch.full((1, 40 * FIRST_NUCLEUS_CANDIDATES), 1.0)
    flat[0, ::2] = 1.5
    flat = flat / flat.sum()
    peaked = torch.zeros_like(flat)
    peaked[0, 3] = 1.0
    thresholds = nucleus_threshold(torch.cat([flat, peaked]), 0.9).squeeze(-1)
    assert thresholds.tolist() == [flat.min().item(), 1.0]


@given(distributions(), st.floats(0.05, 1.0), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_the_inverse_of_the_distribution_function(
    probabilities: np.ndarray, top_p: float, uniform: float
) -> None:
    logits = torch.tensor(probabilities).log()[None]
    token = int(sample_tokens(logits, torch.tensor([uniform], dtype=torch.float64), 1.0, top_p))
    # The token's interval, widened by the rounding of softmax(log(p)), holds the number.
    distribution = nucleus(torch.softmax(logits[0], dim=-1).numpy(), top_p)
    upper = distribution[: token + 1].sum()
    assert upper - distribution[token] - 1e-9 <= uniform <= upper + 1e-9
    assert distribution[token] > 0


@given(distributions(), st.floats(0.05, 1.0))
def test_the_ends_of_the_unit_interval_stay_in_the_nucleus(probabilities: np.ndarray, top_p: float) -> None:
    logits = torch.tensor(probabilities).log()[None]
    distribution = nucleus(torch.softmax(logits[0], dim=-1).numpy(), top_p)
    for uniform, expected in ((0.0, 0), (1 - 2.0**-53, -1)):
        token = int(sample_tokens(logits, torch.tensor([uniform], dtype=torch.float64), 1.0, top_p))
        assert token == np.flatnonzero(distribution)[expected]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.8, 0.9), (2.0, 0.5), (0.3, 0.95)])
def test_frequencies_of_sampled_tokens(temperature: float, top_p: float) -> None:
    """100,000 draws against the exact distribution; the largest deviation stays below five standard errors."""
    count = 100_000
    logits = 1.5 * torch.randn(50, generator=torch.Generator().manual_seed(2))
    exact = nucleus(torch.softmax(logits.double() / temperature, dim=-1).numpy(), top_p)
    tokens = sample_tokens(logits.expand(count, -1), random_stream(11, count), temperature, top_p)
    observed = np.bincount(tokens.numpy(), minlength=50) / count
    assert observed[exact == 0].sum() == 0
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()


def test_a_stream_depends_on_its_seed_alone_and_is_a_prefix_of_a_longer_one() -> None:
    assert torch.equal(random_stream(2**63 - 1, 10), random_stream(2**63 - 1, 30)[:10])
    assert not torch.equal(random_stream(1, 10), random_stream(2, 10))
    numbers = random_stream(5, 10_000)
    assert numbers.dtype == torch.float64
    assert bool(((numbers >= 0) & (numbers < 1)).all())
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    folder = save_small_policy(tmp_path_factory.mktemp("policy"))
    engine = TransformersEngine(str(folder), None, "float32", CPU, token_budget=2000)
    engine.model, engine.stop_ids = small_llama(), STOP_IDS  # a vocabulary of 64: stop tokens come often
    return engine


def make_requests(count: int, draws: int = 4) -> list[Request]:
    generator = torch.Generator().manual_seed(4)
    return [
        Request(f"prompt-{index}", random_ids(3 + index % 12, generator), [1000 * index + d for d in range(draws)])
        for index in range(count)
    ]


def sample(
    engine: TransformersEngine, requests: list[Request], sampling: SamplingSettings = SAMPLING, budget: int = 2000
) -> list[list[Completion]]:
    engine.token_budget = budget
    with Progress(sum(len(request.seeds) for request in requests), "responses", "test") as progress:
        completions = engine.sample(requests, sampling, progress)
        assert progress.done == progress.total
    return completions


@torch.inference_mode()
def sample_one(model: PreTrainedModel, prompt: list[int], seed: int, sampling: SamplingSettings) -> list[int]:
    """Plainly: the whole sequence again for every token, no batch, no cache."""
    response: list[int] = []
    for uniform in random_stream(seed, sampling.max_tokens).tolist():
        logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0, -1]
        probabilities = torch.softmax(logits / sampling.temperature, dim=-1).numpy()
        response.append(draw(nucleus(probabilities, sampling.top_p), uniform))
        if response[-1] in STOP_IDS:
            break
    return response


def test_responses_are_those_of_the_plain_loop(engine: TransformersEngine) -> None:
    requests = make_requests(50)
    for request, completions in zip(requests, sample(engine, requests), strict=True):
        for seed, completion in zip(request.seeds, completions, strict=True):
            assert completion.token_ids == sample_one(engine.model, request.prompt_token_ids, seed, SAMPLING)


def test_responses_do_not_depend_on_budget_order_or_company(engine: TransformersEngine) -> None:
    requests = make_requests(60)
    together = sample(engine, requests, budget=10**6)
    assert sum(len(completions) for completions in together) == 240
    assert sample(engine, requests, budget=1) == together
    assert sample(engine, requests, budget=300) == together
    assert sample(engine, requests[::-1]) == together[::-1]
    assert sample(engine, requests[7:9]) == together[7:9]
    single_draws = [Request(r.prompt_id, r.prompt_token_ids, [r.seeds[2]]) for r in requests]
    assert sample(engine, single_draws) == [[completions[2]] for completions in together]


def test_unequal_numbers_of_draws(engine: TransformersEngine) -> None:
    requests = make_requests(6)
    uneven = [Request(r.prompt_id, r.prompt_token_ids, r.seeds[: 1 + i % 4]) for i, r in enumerate(requests)]
    expected = [completions[: 1 + i % 4] for i, completions in enumerate(sample(engine, requests))]
    assert sample(engine, uneven, budget=10**6) == expected


def test_finish_reasons(engine: TransformersEngine) -> None:
    completions = [completion for drawn in sample(engine, make_requests(60)) for completion in drawn]
    for completion in completions:
        stopped = completion.token_ids[-1] in STOP_IDS
        assert completion.finish_reason == ("stop" if stopped else "length")
        assert stopped or len(completion.token_ids) == SAMPLING.max_tokens
        assert not set(completion.token_ids[:-1]) & set(STOP_IDS)
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}


def test_a_shorter_limit_cuts_the_same_responses(engine: TransformersEngine) -> None:
    requests = make_requests(20)
    longer = sample(engine, requests)
    for limit in (1, 5):
        shorter = sample(engine, requests, SamplingSettings(SAMPLING.temperature, SAMPLING.top_p, limit))
        cut = [completion.token_ids for drawn in shorter for completion in drawn]
        assert cut == [completion.token_ids[:limit] for drawn in longer for completion in drawn]


def test_the_draws_of_a_prompt_differ(engine: TransformersEngine) -> None:
    completions = sample(engine, [Request("p", [3, 4, 5], list(range(40)))])[0]
    assert len({tuple(completion.token_ids) for completion in completions}) > 30


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_the_first_token_has_the_distribution_at_the_temperature(
    engine: TransformersEngine, temperature: float
) -> None:
    count = 4000
    sampling = SamplingSettings(temperature, 0.9, max_tokens=1)
    completions = sample(engine, [Request("p", [7, 8, 9], list(range(count)))], sampling)[0]
    observed = np.bincount([completion.token_ids[0] for completion in completions], minlength=64) / count
    with torch.inference_mode():
        logits = engine.model(torch.tensor([[7, 8, 9]])).logits[0, -1].double()
    exact = nucleus(torch.softmax(logits / temperature, dim=-1).numpy(), 0.9)
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()


def test_what_does_not_fit_the_context_is_refused(engine: TransformersEngine) -> None:
    assert sample(engine, [], SAMPLING) == []
    exactly = [Request("fits", [3] * (128 - 16), [1])]
    assert len(sample(engine, exactly)[0]) == 1
    with pytest.raises(UserError, match=r"prompt long has 113 tokens.*129.*context is 128.*prompts.max_tokens"):
        sample(engine, [Request("short", [3], [1]), Request("long", [3] * 113, [1])])


def test_the_stop_tokens_are_the_models_own(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path)
    engine = TransformersEngine(str(folder), None, "bfloat16", CPU, token_budget=100)
    assert engine.model.dtype == torch.bfloat16
    assert engine.stop_ids == sorted(engine.model.generation_config.eos_token_id)
    assert len(engine.stop_ids) == 2
