"""A training that runs out of memory continues in smaller packs, with the same result."""

import logging
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from limited_memory import LimitedMemory
from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.training.loop import OUT_OF_MEMORY, train
from rlhf.training.optimization.step import count_tokens
from small_models import random_pairs, small_llama, train_spec, weights, with_reference

DPO = {"name": "dpo", "beta": 0.5}
SPEC = train_spec(DPO, batch_size=16, learning_rate=1e-3, adam_epsilon=1e-2, epochs=2, validation_interval=2)
LIMIT = 90
"""Tokens that fit into memory: more than the longest pair, and a third of a batch."""


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


def test_a_reduced_budget_is_kept(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = LimitedMemory(LIMIT)
    memory.install(monkeypatch)
    trained(pairs, [], 150)
    assert [tokens for tokens in memory.packs if tokens > LIMIT] == memory.packs[:1]
    (warning,) = [record.message for record in caplog.records if "memory ran out" in record.message]
    assert warning == (
        "memory ran out (CUDA out of memory): continuing with a token budget of 75 instead of 150. Set `token_budget` "
        "of this rule under `hardware` to 75 to use it from the start"
    )


def test_a_pair_that_does_not_fit_is_a_user_error(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(map(count_tokens, pairs))
    LimitedMemory(longest - 1).install(monkeypatch)
    with pytest.raises(UserError) as error:
        trained(pairs, [], 2000)
    assert str(error.value) == (
        f"memory ran out (CUDA out of memory), and packs cannot be smaller: the longest has {longest} tokens, and a "
        f"response with its prompt is never split. {OUT_OF_MEMORY}"
    )
