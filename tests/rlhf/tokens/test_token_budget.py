"""Work that runs out of memory is repeated in smaller packs, with the same result."""

import json
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from limited_memory import LimitedMemory, run_out
from rlhf.base.errors import UserError
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.schema import Pair
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.packed_scoring import PackScores, score_conversations
from rlhf.tokens.packing import Pack, PromptGroup, balanced_packs
from rlhf.tokens.token_budget import StartAgainError, TokenBudget, saved_budgets, smaller_budget
from rlhf.training.loop import OUT_OF_MEMORY, count_tokens, train
from small_models import CPU, random_pairs, small_llama, small_reward_model, train_spec, weights, with_reference
from small_tokenizers import small_tokenizer

DPO = {"name": "dpo", "beta": 0.5}
SPEC = train_spec(DPO, batch_size=16, learning_rate=1e-3, adam_epsilon=1e-2, epochs=2, validation_interval=2)
LIMIT = 90
"""Tokens that fit: more than the longest pair, and a third of a batch."""


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(32, seed=3), 0.8)


@pytest.fixture(scope="module")
def validation_pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(6, seed=4), 0.8)


def trained(
    pairs: list[Pair], validation_pairs: list[Pair], token_budget: int
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    policy = small_llama()
    model = ResponseLogprobs(policy, SPEC.temperature)
    metrics = train(model, pairs, validation_pairs, SPEC, Accelerator(cpu=True), token_budget).metrics
    return weights(policy), metrics


# --- training


@pytest.mark.parametrize(
    ("memory", "token_budget"),
    [
        (LimitedMemory(LIMIT), 2000),
        (LimitedMemory(LIMIT, "backward"), 2000),
        (LimitedMemory(LIMIT, "backward", full_from=4), 150),
        (LimitedMemory(LIMIT, full_from=5), 120),
    ],
    ids=["forward", "backward", "third micro-batch, backward", "second step"],
)
def test_the_trajectory_is_that_of_a_smaller_budget(
    memory: LimitedMemory,
    token_budget: int,
    pairs: list[Pair],
    validation_pairs: list[Pair],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected_weights, expected = trained(pairs, validation_pairs, LIMIT // 2)
    capsys.readouterr()
    memory.packs.clear()
    memory.install(monkeypatch)
    found_weights, found = trained(pairs, validation_pairs, token_budget)
    assert any(tokens > LIMIT for tokens in memory.packs)
    moved = float((expected_weights - weights(small_llama())).norm())
    assert float((found_weights - expected_weights).norm()) / moved < 1e-5
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        assert [row[name] for name in ("step", "epoch", "tokens")] == [
            other[name] for name in ("step", "epoch", "tokens")
        ]
        for name, value in other.items():
            assert row[name] == pytest.approx(value, rel=1e-5, abs=1e-5), (row["step"], name)
    assert "training trained-1: 64 of 64 pairs" in capsys.readouterr().err
    (*_, last) = [record for record in caplog.records if "memory ran out" in record.message]
    assert last.levelno == logging.WARNING
    assert max(memory.packs[-8:]) <= LIMIT  # the smaller budget stays


def test_a_budget_once_smaller_stays_smaller(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = LimitedMemory(LIMIT)
    memory.install(monkeypatch)
    trained(pairs, [], 150)
    assert [tokens for tokens in memory.packs if tokens > LIMIT] == memory.packs[:1]
    (warning,) = [record.message for record in caplog.records if "memory ran out" in record.message]
    assert warning == (
        "memory ran out (CUDA out of memory): going on with a token budget of 75 in place of 150. Set `token_budget` "
        "of this rule under `hardware` to 75 to have it from the start"
    )


def test_a_pair_that_does_not_fit_is_a_sentence(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(map(count_tokens, pairs))
    LimitedMemory(longest - 1).install(monkeypatch)
    with pytest.raises(UserError) as error:
        trained(pairs, [], 2000)
    assert str(error.value) == (
        f"memory ran out (CUDA out of memory), and packs cannot be smaller: the longest holds {longest} tokens, and a "
        f"response with its prompt is never cut. {OUT_OF_MEMORY}"
    )


# --- log-probabilities and rewards


@pytest.mark.parametrize("full_from", [0, 2])
def test_log_probabilities_are_those_of_a_smaller_budget(
    full_from: int, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ResponseLogprobs(small_llama(), 0.8)
    expected = pair_logprobs(model, pairs, "float32", LIMIT)
    memory = LimitedMemory(LIMIT, full_from=full_from)
    memory.install(monkeypatch)
    with Progress(len(pairs), "pairs", "test") as progress:
        found = pair_logprobs(model, pairs, "float32", 180, progress)
    assert torch.tensor(found) == pytest.approx(torch.tensor(expected), rel=1e-5)
    assert (progress.done, progress.tokens) == (len(pairs), sum(map(count_tokens, pairs)))
    tried = sum(memory.packs)
    assert tried == progress.tokens + memory.packs[full_from]  # nothing was computed twice


@pytest.mark.parametrize("full_from", [0, 2])
def test_rewards_are_those_of_a_smaller_budget(full_from: int, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = small_tokenizer()
    scorer = ArmoScorer(small_reward_model(len(tokenizer)), tokenizer)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "what", "is", "2", "+", "2?"]
    conversations = [(" ".join(words[: 1 + n % 7]), " ".join(words[n % 5 : n % 5 + n % 6])) for n in range(24)]
    memory = LimitedMemory(60, full_from=full_from)

    def limited(pack: Pack) -> PackScores:
        if not memory.fits(pack):
            run_out()
        return scorer(pack)

    def scored(reward: Any, token_budget: int) -> list[float | None]:
        distinct = len(set(conversations))
        with Progress(distinct, "responses", "test") as progress:
            scores = score_conversations(reward, CPU, tokenizer, conversations, 128, token_budget, progress)
        assert progress.done == distinct
        return [found.value for found in scores]

    assert scored(limited, 100) == pytest.approx(scored(scorer, 50), rel=1e-5, abs=1e-6)
    assert [tokens > 60 for tokens in memory.packs] == [
        *[True] * (full_from + 1),
        *[False] * (len(memory.packs) - full_from - 1),
    ]
    assert "token budget of 50 in place of 100" in caplog.text


def test_a_response_that_does_not_fit_is_a_sentence() -> None:
    tokenizer = small_tokenizer()

    def never(pack: Pack) -> PackScores:
        raise torch.OutOfMemoryError("CUDA out of memory. And so on.")

    with Progress(1, "responses", "test") as progress, pytest.raises(UserError, match=r"packs cannot be smaller"):
        score_conversations(never, CPU, tokenizer, [("what is 2", "a dog")], 128, 10**4, progress)
    assert progress.done == 0


# --- the budget by itself


def groups(sizes: list[int]) -> list[PromptGroup]:
    return [PromptGroup([0], [[0] * (size - 1)]) for size in sizes]


@given(
    st.lists(st.integers(2, 50), min_size=1, max_size=12),
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 3),
)
def test_what_fits_is_found_in_few_attempts_and_nothing_that_fits_is_missed(
    sizes: list[int], token_budget: int, room: int, processes: int
) -> None:
    tried: list[int] = []
    tokens: int | None = token_budget
    while tokens is not None:
        packs = balanced_packs([group.tokens for group in groups(sizes)], tokens, processes)
        tried.append(max(sum(sizes[index] for index in pack) for pack in packs))
        if tried[-1] <= room:
            break
        smaller = smaller_budget(tokens, sizes, processes)
        assert smaller is None or smaller < tokens
        tokens = smaller
    assert (tokens is None) == (room < max(sizes))
    assert len(tried) <= 7  # 700 is halved six times until it is less than two pairs


def test_other_errors_are_not_repeated() -> None:
    calls: list[int] = []

    def work(tokens: int) -> None:
        calls.append(tokens)
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        TokenBudget(100).repeat(work, lambda: [1, 2])
    assert calls == [100]


def test_the_tensors_of_failed_work_are_gone_before_it_is_repeated() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    def work(tokens: int) -> None:
        assert all(reference() is None for reference in seen)
        tensor = torch.zeros(3)
        seen.append(weakref.ref(tensor))
        if tokens > 30:
            run_out()

    TokenBudget(100).repeat(work, lambda: [1] * 90)
    assert len(seen) == 3


# --- several processes


def test_one_of_several_processes_saves_the_smaller_budget_for_all(tmp_path: Path) -> None:
    file = tmp_path / "identity" / "token_budget.json"
    calls: list[int] = []

    def work(tokens: int) -> None:
        calls.append(tokens)
        run_out()

    for expected in (500, 250):
        with pytest.raises(StartAgainError):
            TokenBudget(1000, saved=file, processes=2).repeat(work, lambda: [100] * 40)
        assert saved_budgets(tmp_path) == {file: expected}
    assert calls == [1000, 500]
    assert TokenBudget(1000, saved=file, processes=2).tokens == 250
    assert TokenBudget(800, saved=file, processes=2).tokens == 800  # somebody has set another one
    assert [path.name for path in file.parent.iterdir()] == ["token_budget.json"]
    assert json.loads(file.read_text()) == {"configured": 1000, "token_budget": 250}


def test_a_budget_that_led_nowhere_is_not_kept(tmp_path: Path) -> None:
    """After the remedy, training begins with what is configured."""
    file = tmp_path / "identity" / "token_budget.json"
    for _ in range(2):
        with pytest.raises((StartAgainError, UserError)) as error:
            TokenBudget(150, saved=file, processes=2).repeat(lambda tokens: run_out(), lambda: [100, 90, 100])
        assert (error.type is StartAgainError) == file.exists()
    assert saved_budgets(tmp_path) == {}
