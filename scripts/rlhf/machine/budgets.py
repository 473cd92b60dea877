"""The token budget that fits on a GPU, and what to suggest if none does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.machine.choices import BudgetChoice, budget_or_default
from rlhf.machine.memory import MemoryUse, TrainingSetup, largest_budget, training_memory, usable
from rlhf.machine.model_shapes import ModelShape

if TYPE_CHECKING:
    import torch

GB = 1e9
MemoryOf = Callable[[int], MemoryUse]
"""Memory use as a function of the tokens in the largest pack."""


def forward_budget(
    asked: BudgetChoice, device: torch.device, memory: MemoryOf | None, longest: int, longest_key: str
) -> int:
    """The token budget of a job without gradients, computed on its device before it loads the model.

    Args:
        asked: tokens, or `auto` for the largest budget that fits.
        memory: None if the model's architecture is unknown.
        longest: tokens of the longest pair or conversation, which is never split.
        longest_key: configuration key that bounds it, for the message.

    Raises:
        UserError: the requested budget, or the longest sequence alone, does not fit.
    """
    if device.type == "cpu" or memory is None:
        return budget_or_default(asked)
    remedy = partial(smaller_budget_remedy, memory, longest, longest_key)
    return check_budget(asked, memory, longest, free_bytes(device), remedy)


def training_budget(
    asked: BudgetChoice, device: torch.device, shape: ModelShape | None, setup: TrainingSetup, longest: int
) -> int:
    """The token budget of a training process, computed on its device before it loads the policy.

    Raises:
        UserError: the requested budget, or the longest pair alone, does not fit.
    """
    if device.type == "cpu" or shape is None:
        return budget_or_default(asked)
    remedy = partial(training_remedy, shape, setup, longest)
    return check_budget(asked, partial(training_memory, shape, setup), longest, free_bytes(device), remedy)


def free_bytes(device: torch.device) -> float:
    """Free memory of a GPU in bytes."""
    import torch

    return torch.cuda.mem_get_info(device)[0]


def check_budget(
    asked: BudgetChoice, memory: MemoryOf, longest: int, gpu_bytes: float, remedy: Callable[[float], str]
) -> int:
    """The token budget on a GPU of this size: the one asked for, or the largest that leaves a tenth of the memory free.

    Raises:
        UserError: the requested budget, or the longest pair alone, does not fit.
    """
    if asked == "auto":
        found = largest_budget(memory, usable(gpu_bytes), longest)
        tokens = longest if found is None else found
    else:
        found = tokens = asked
    needed = memory(max(tokens, longest)).total
    if found is not None and needed <= gpu_bytes:
        return found
    raise UserError(
        f"{max(tokens, longest)} tokens at once need {needed / GB:.0f} GB of GPU memory, and there are "
        f"{gpu_bytes / GB:.0f} GB ({usable(gpu_bytes) / GB:.0f} with a tenth to spare). {remedy(gpu_bytes)}"
    )


def training_remedy(shape: ModelShape, setup: TrainingSetup, longest: int, gpu_bytes: float) -> str:
    """One sentence: which changes of the settings would make a training fit."""
    found = []
    for words, changed in _changes(setup):
        budget = largest_budget(partial(training_memory, shape, changed), usable(gpu_bytes), longest)
        if budget is not None:
            found.append(f"{words} (then up to {budget} tokens)")
    if not found:
        return "None of recomputed activations, 8-bit optimizer, LoRA or 64 GPUs makes it fit: use a smaller model."
    return f"What would fit: {'; '.join(found[:4])}."


def _changes(setup: TrainingSetup) -> Iterator[tuple[str, TrainingSetup]]:
    """The same settings with another budget, then changed settings, cheapest first."""
    yield "`token_budget: auto`", setup
    recompute = replace(setup, activations="recompute")
    yield "`activations: recompute`", recompute
    if setup.processes == 1 or setup.strategy == "ddp":
        yield "`activations: recompute` and `optimizer: adamw_8bit`", replace(recompute, optimizer="adamw_8bit")
    yield "`lora: {rank: 64}`", replace(setup, lora_rank=64)
    yield "`lora: {rank: 64}` and `activations: recompute`", replace(recompute, lora_rank=64)
    for processes in (8, 16, 32, 64):
        if processes > setup.processes and setup.optimizer == "adamw":
            yield f"`gpu: {processes}` and `strategy: zero3`", replace(setup, processes=processes, strategy="zero3")


def smaller_budget_remedy(memory: MemoryOf, longest: int, max_tokens_key: str, gpu_bytes: float) -> str:
    """One sentence: what would make a stage without gradients fit."""
    budget = largest_budget(memory, usable(gpu_bytes), longest)
    if budget is None:
        return f"The weights and a single sequence do not fit: lower `{max_tokens_key}`, or use a larger GPU."
    return f"Set `token_budget: auto`, or at most {budget}."
