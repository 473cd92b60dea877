"""The token budget alone: how it shrinks, and how several processes agree on it."""

import json
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limited_memory import run_out
from rlhf.base.errors import UserError
from rlhf.tokens.packing import PromptGroup, balanced_packs
from rlhf.tokens.token_budget import StartAgainError, TokenBudget, saved_budgets, smaller_budget


def groups(sizes: list[int]) -> list[PromptGroup]:
    return [PromptGroup([0], [[0] * (size - 1)]) for size in sizes]


@given(
    st.lists(st.integers(2, 50), min_size=1, max_size=12),
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 3),
)
def test_a_budget_that_fits_is_found_in_few_attempts_if_there_is_one(
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
    assert TokenBudget(800, saved=file, processes=2).tokens == 800  # another one was configured
    assert [path.name for path in file.parent.iterdir()] == ["token_budget.json"]
    assert json.loads(file.read_text()) == {"configured": 1000, "token_budget": 250}


def test_a_budget_that_did_not_help_is_not_kept(tmp_path: Path) -> None:
    """After the remedy, training starts with the configured budget."""
    file = tmp_path / "identity" / "token_budget.json"
    for _ in range(2):
        with pytest.raises((StartAgainError, UserError)) as error:
            TokenBudget(150, saved=file, processes=2).repeat(lambda tokens: run_out(), lambda: [100, 90, 100])
        assert (error.type is StartAgainError) == file.exists()
    assert saved_budgets(tmp_path) == {}
