"""Sampling one sequence at a time, without a cache, against the engine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rlhf.machine.progress import Progress
from rlhf.responses.engine import Completion, Request
from rlhf.responses.engines.transformers import TransformersEngine, random_stream
from rlhf.responses.settings import SamplingSettings
from sampling_by_definition import draw, nucleus
from small_models import CPU, STOP_IDS, random_ids, save_small_policy, small_llama

SAMPLING = SamplingSettings(temperature=0.8, top_p=0.9, max_tokens=16, precision="float32")


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
    engine = TransformersEngine(str(folder), None, SAMPLING, CPU, token_budget=2000)
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
    engine.token_budget, engine.sampling = budget, sampling
    with Progress(sum(len(request.seeds) for request in requests), "responses", "test") as progress:
        completions = engine.sample(requests, progress)
        assert progress.done == progress.total
    return completions


@torch.inference_mode()
def sample_one(model: PreTrainedModel, prompt: list[int], seed: int, sampling: SamplingSettings) -> list[int]:
    """The definition: recomputes the whole sequence for every token, without batch or cache."""
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


def test_responses_do_not_depend_on_budget_order_or_batch(engine: TransformersEngine) -> None:
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


def test_a_shorter_limit_truncates_the_same_responses(engine: TransformersEngine) -> None:
    requests = make_requests(20)
    longer = sample(engine, requests)
    for limit in (1, 5):
        shorter = sample(engine, requests, SAMPLING.model_copy(update={"max_tokens": limit}))
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
    sampling = SamplingSettings(temperature=temperature, top_p=0.9, max_tokens=1)
    completions = sample(engine, [Request("p", [7, 8, 9], list(range(count)))], sampling)[0]
    observed = np.bincount([completion.token_ids[0] for completion in completions], minlength=64) / count
    with torch.inference_mode():
        logits = engine.model(torch.tensor([[7, 8, 9]])).logits[0, -1].double()
    exact = nucleus(torch.softmax(logits / temperature, dim=-1).numpy(), 0.9)
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()


def test_the_stop_tokens_are_the_models_own(tmp_path: Path) -> None:
    folder = save_small_policy(tmp_path)
    engine = TransformersEngine(str(folder), None, SamplingSettings(), CPU, token_budget=100)
    assert engine.model.dtype == torch.bfloat16
    own = engine.model.generation_config.eos_token_id
    assert engine.stop_ids == sorted(own)
    assert len(own) == 2
    more = TransformersEngine(str(folder), None, SamplingSettings(stop_tokens=["!"]), CPU, token_budget=100)
    assert set(own) < set(more.stop_ids)
    assert len(more.stop_ids) == 3
