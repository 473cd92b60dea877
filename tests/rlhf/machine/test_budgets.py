"""Budgets: the largest that fits, for any model and setting, and remedies that hold."""

import re
from argparse import ArgumentParser

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from command_line import add_token_budget_flag
from rlhf.base.errors import UserError
from rlhf.machine.budgets import check_budget, forward_budget, training_budget
from rlhf.machine.choices import DEFAULT_BUDGET
from rlhf.machine.memory import MOST_TOKENS, STEP, MemoryUse, TrainingSetup, largest_budget, training_memory, usable
from rlhf.machine.model_shapes import ModelShape
from rlhf.tokens.packing import CPU_PACK_TOKENS
from small_models import CPU
from workflow.hardware import BatchedHardware

SHAPE = ModelShape(16, 2048, 5632, 16, 4, 128, 32_000, 4096)
SETUP = TrainingSetup("single", 1, "keep", "bfloat16")


@given(st.integers(10**6, 10**11), st.integers(1, 10**7), st.integers(1, 20_000), st.integers(10**6, 10**12))
def test_one_more_step_would_not_fit(fixed: int, per_token: int, longest: int, limit: int) -> None:
    def memory(tokens: int) -> MemoryUse:
        return MemoryUse(weights=fixed, activations=per_token * tokens)

    found = largest_budget(memory, limit, longest)
    if memory(longest).total > limit:
        assert found is None
        return
    assert found is not None
    assert found >= longest
    assert memory(found).total <= limit
    assert found in (longest, MOST_TOKENS) or memory(found // STEP * STEP + STEP).total > limit


@given(
    st.sampled_from(["single", "ddp", "zero3", "fsdp2"]),
    st.sampled_from(["keep", "recompute"]),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from([None, 8]),
    st.integers(1, 20_000),
)
def test_more_tokens_never_take_less(strategy, activations, precision, rank, tokens) -> None:  # type: ignore[no-untyped-def]
    setup = TrainingSetup(strategy, 8, activations, precision, lora_rank=rank)
    assert training_memory(SHAPE, setup, tokens).total <= training_memory(SHAPE, setup, tokens + STEP).total


def test_a_requested_budget_is_used_if_it_fits() -> None:
    def memory(tokens: int) -> MemoryUse:
        return MemoryUse(weights=10, activations=tokens)

    assert check_budget(80, memory, 5, 100.0, str) == 80  # of what is there all may be asked for
    with pytest.raises(UserError, match="95 tokens at once need 0 GB"):
        check_budget(95, memory, 5, 100.0, str)
    with pytest.raises(UserError, match="95 tokens"):
        check_budget(5, memory, 95, 100.0, str)  # the longest pair is a pack whatever the budget


def test_remedies_fit() -> None:
    with pytest.raises(UserError) as error:
        training_budget_on(20e9, 100_000)
    named = re.findall(r"`activations: recompute` \(then up to (\d+) tokens\)", str(error.value))
    assert named
    recompute = TrainingSetup("single", 1, "recompute", "bfloat16")
    assert training_memory(SHAPE, recompute, int(named[0])).total <= usable(20e9)


def training_budget_on(gpu_bytes: float, asked: int) -> int:
    from functools import partial

    from rlhf.machine.budgets import training_remedy

    memory = partial(training_memory, SHAPE, SETUP)
    return check_budget(asked, memory, 2048, gpu_bytes, partial(training_remedy, SHAPE, SETUP, 2048))


def test_the_default_is_used_on_a_cpu_and_for_unknown_models() -> None:
    assert training_budget("auto", CPU, SHAPE, SETUP, 10**9) == DEFAULT_BUDGET
    assert training_budget(77, CPU, SHAPE, SETUP, 10**9) == 77
    assert training_budget("auto", torch.device("cuda"), None, SETUP, 10) == DEFAULT_BUDGET
    assert forward_budget(5, torch.device("cuda"), None, 10, "key") == 5


def test_help_texts_state_the_default_and_the_cap() -> None:
    parser = ArgumentParser()
    add_token_budget_flag(parser)
    help_text = " ".join(parser.format_help().split())
    for text in (BatchedHardware.model_fields["token_budget"].description or "", help_text):
        assert str(DEFAULT_BUDGET) in text
        assert str(CPU_PACK_TOKENS) in text
        assert "vLLM" in text


def test_a_program_reads_the_memory_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40 * 10**9, 80 * 10**9))
    found = training_budget("auto", torch.device("cuda", 0), SHAPE, SETUP, 2048)
    assert training_memory(SHAPE, SETUP, found).total <= usable(40e9)
    assert training_memory(SHAPE, SETUP, found + STEP).total > usable(40e9)
    with pytest.raises(UserError, match=r"there are 40 GB"):
        training_budget(30_000, torch.device("cuda", 0), SHAPE, SETUP, 2048)
