"""The memory model (`rlhf.machine.memory`) against what torch allocated, at layers of Llama-3-8B's shapes.

On a CPU, where nothing counts what is allocated, the tensors of a tiny policy are counted: the model speaks of GPUs,
and is not judged by that.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from transformers import LlamaForCausalLM

from measured_memory import LiveBytes
from preference_pairs import TEMPERATURE, made_pairs, random_policy, training_spec
from record import Row, judged
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs, checkpoint_activations
from rlhf.machine.memory import MemoryUse, TrainingSetup, logprob_memory, training_memory
from rlhf.pairs.schema import Pair
from rlhf.training.adapters import add_adapters
from rlhf.training.data import micro_batches
from rlhf.training.loop import backward_batch, count_tokens
from rlhf.training.optimizers import make_optimizer
from rlhf.training.settings import LoraSettings
from tasks import Exam, Task, not_installed
from training_rows import one_process
from workbench import layers_that_fit, options_of, shape_of

TOLERANCE = 0.1
KEEP = TrainingSetup("single", 1, "keep", "bfloat16")
RANK = 64


def tasks(exam: Exam) -> list[Task]:
    no_peft = not_installed("peft")
    recompute, lora = replace(KEEP, activations="recompute"), replace(KEEP, lora_rank=RANK)
    kinds = [
        ("all weights, activations kept", KEEP, ""),
        ("all weights, activations recomputed", recompute, ""),
        (f"LoRA of rank {RANK}, activations kept", lora, no_peft),
        (f"LoRA of rank {RANK}, activations recomputed", replace(lora, activations="recompute"), no_peft),
    ]
    found = [
        Task(f"memory, {name}", 25, functools.partial(training, exam, name, setup), missing)
        for name, setup, missing in kinds
    ]
    return [*found, Task("memory, log-probabilities", 15, lambda: logprobs(exam))]


def training(exam: Exam, name: str, setup: TrainingSetup) -> Iterator[Row]:
    """The peak of a second step: of passes over two packs, and of the optimizer."""
    options = {**options_of(exam), "precision": setup.precision}
    budget = options["budget"]
    options["layers"] = layers_that_fit(exam, setup, budget, moments=True)
    pairs, largest = two_packs(options)
    spec = training_spec(options)
    accelerator = one_process("single", spec, exam.device)
    policy = policy_of(options, exam.device, setup)
    plain = ResponseLogprobs(policy, TEMPERATURE)
    model, optimizer = accelerator.prepare(plain, make_optimizer(plain, spec.recipe))

    def passes() -> None:
        backward_batch(model, pairs, spec, accelerator, budget)

    def there() -> list[torch.Tensor]:
        """What lives from step to step."""
        state = [value for values in optimizer.state.values() for value in values.values()]
        trained = [parameter.grad for parameter in policy.parameters()]
        return [tensor for tensor in [*policy.parameters(), *trained, *state] if isinstance(tensor, torch.Tensor)]

    passes()
    optimizer.step()
    optimizer.zero_grad()
    peaks = peak_of(passes, there(), exam.device), peak_of(optimizer.step, there(), exam.device)
    expected = training_memory(shape_of(options), setup, largest)
    yield compared(exam, f"memory of training, {name}", options, largest, peaks, expected)


def logprobs(exam: Exam) -> Iterator[Row]:
    """The peak of `compute_logprobs`."""
    options = options_of(exam)
    pairs, largest = two_packs(options)
    policy = random_policy(options, exam.device).requires_grad_(False)
    store_frozen_matrices(policy, "bfloat16")
    model = ResponseLogprobs(policy, TEMPERATURE)
    weights = list(policy.parameters())
    peak = peak_of(lambda: pair_logprobs(model, pairs, "bfloat16", options["budget"]), weights, exam.device)
    expected = logprob_memory(shape_of(options), "bfloat16", largest)
    yield compared(exam, "memory of log-probabilities", options, largest, (peak,), expected)


def policy_of(options: dict[str, Any], device: torch.device, setup: TrainingSetup) -> LlamaForCausalLM:
    """As `train_policy` prepares it."""
    policy = random_policy(options, device)
    if setup.lora_rank is not None:
        add_adapters(policy, LoraSettings(rank=setup.lora_rank, alpha=setup.lora_rank))
        store_frozen_matrices(policy, setup.precision)
    if setup.activations == "recompute":
        checkpoint_activations(policy)
    return policy


def two_packs(options: dict[str, Any]) -> tuple[list[Pair], int]:
    """Pairs that make two packs, so that gradients are there when the second is computed; tokens of the larger one."""
    pairs = made_pairs(options)
    sizes = itertools.accumulate(map(count_tokens, pairs))
    pairs = [pair for pair, size in zip(pairs, sizes, strict=True) if size <= 1.95 * options["budget"]]
    packs = micro_batches(pairs, options["budget"], 0, 1)
    return pairs, max(sum(map(count_tokens, pack)) for pack in packs)


def peak_of(work: Callable[[], object], there: list[torch.Tensor], device: torch.device) -> int:
    """Bytes at the peak of some work, with what was there before."""
    if device.type == "cpu":
        with LiveBytes(*there) as live:
            work()
        return live.peak
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def compared(
    exam: Exam, what: str, options: dict[str, Any], tokens: int, peaks: tuple[int, ...], expected: MemoryUse
) -> Row:
    """What was allocated at the peaks of passes and of the optimizer's step, beside what the model says."""
    error = expected.total / max(peaks) - 1
    scale, unit = (1e9, "GB") if exam.device.type == "cuda" else (1e6, "MB")
    shown = " and ".join(f"{peak / scale:.3g}" for peak in peaks)
    parts = "passes and optimizer's step" if len(peaks) > 1 else "passes"
    return judged(
        f"{what}, {options['layers']} layers, {tokens} tokens",
        f"{parts} {shown} {unit}; the model says {expected.total / scale:.3g}: {error:+.1%}",
        f"within {TOLERANCE:.0%}",
        passed=abs(error) <= TOLERANCE if exam.device.type == "cuda" else None,
        peaks=peaks,
        expected=expected.total,
        tokens=tokens,
    )
