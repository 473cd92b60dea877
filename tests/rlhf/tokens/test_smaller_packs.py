"""Log-probabilities and rewards that run out of memory are computed in smaller packs, with the same result."""

from typing import Any

import pytest
import torch

from chats import conversations as chats
from limited_memory import LimitedMemory, run_out
from rlhf.base.errors import UserError
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.schema import Pair
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import PackScores, score_conversations
from rlhf.tokens.packing import Pack
from rlhf.training.optimization.step import count_tokens
from small_models import CPU, random_pairs, small_llama, small_reward_model, with_reference
from small_tokenizers import small_tokenizer

LIMIT = 90
"""Tokens that fit into memory: more than the longest pair."""


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return with_reference(small_llama(), random_pairs(32, seed=3), 0.8)


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
            scores = score_conversations(reward, CPU, tokenizer, chats(conversations), 128, token_budget, progress)
        assert progress.done == distinct
        return [found.value for found in scores]

    assert scored(limited, 100) == pytest.approx(scored(scorer, 50), rel=1e-5, abs=1e-6)
    assert [tokens > 60 for tokens in memory.packs] == [
        *[True] * (full_from + 1),
        *[False] * (len(memory.packs) - full_from - 1),
    ]
    assert "token budget of 50 instead of 100" in caplog.text


def test_a_response_that_does_not_fit_is_a_user_error() -> None:
    tokenizer = small_tokenizer()

    def never(pack: Pack) -> PackScores:
        raise torch.OutOfMemoryError("CUDA out of memory. And so on.")

    with Progress(1, "responses", "test") as progress, pytest.raises(UserError, match=r"packs cannot be smaller"):
        score_conversations(never, CPU, tokenizer, chats([("what is 2", "a dog")]), 128, 10**4, progress)
    assert progress.done == 0
