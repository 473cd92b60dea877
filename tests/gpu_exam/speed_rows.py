"""Speed of log-probabilities and training for layers of Llama-3-8B's shapes and UltraFeedback's lengths.

The policy has the full vocabulary and as many layers as fit, so its head takes a larger share of the work than with 32
layers. What all 32 would reach is extrapolated from the times of all these layers and of half of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from paths import segments_only
from record import Row, judged
from rlhf.logprobs.responses import checkpoint_activations
from rlhf.training.compute_rate import peak_rate
from tasks import Exam, Task, free_memory
from timing import matrix_rate, median_seconds
from workbench import WHOLE, Workbench

BAR, GOAL = 0.4, 0.5
"""Fraction of the peak matrix rate in the data sheet."""
TIMES_PADDED = 4.0
"""How much faster than padded rows."""


def tasks(exam: Exam) -> list[Task]:
    """The order matters: padded rows need the policy as transformers made it, and recomputation cannot be undone."""
    speed = Speed(exam)
    return [
        Task("log-probabilities, padded", 20, lambda: speed.padded("log-probabilities")),
        Task("training, padded", 25, lambda: speed.padded("training")),
        Task("log-probabilities", 20, lambda: speed.packed("log-probabilities")),
        Task("log-probabilities, 32 layers", 10, lambda: speed.whole("log-probabilities")),
        Task("log-probabilities, segments", 20, lambda: speed.segments("log-probabilities"), exam.no_gpu),
        Task("training", 25, lambda: speed.packed("training")),
        Task("training, 32 layers", 15, lambda: speed.whole("training")),
        Task("training, segments", 25, lambda: speed.segments("training"), exam.no_gpu),
        Task("training, each prompt twice", 25, speed.apart),
        Task("training, recomputing", 30, speed.recomputing),
    ]


class Speed:
    """Makes the rows; keeps the seconds of those that others are compared with."""

    def __init__(self, exam: Exam) -> None:
        self.device = exam.device
        self.bench = Workbench(exam)
        self.seconds: dict[str, float] = {}

    def padded(self, work: str) -> Iterator[Row]:
        """The tutorial's way: rows of 3072 tokens."""
        bench = self.bench
        seconds = self._time({"log-probabilities": bench.padded_logprobs, "training": bench.padded_gradient}[work])
        pairs = len(bench.padded_pairs)
        self.seconds[f"{work}, padded"] = seconds / pairs * len(bench.pairs)
        yield self._row(f"{work}, rows padded to 3072 tokens", self.seconds[f"{work}, padded"], work)

    def packed(self, work: str) -> Iterator[Row]:
        """The pipeline's way, as its programs do it."""
        self.seconds[work] = seconds = self._time(self._work(work))
        yield self._row(f"{work}, packed", seconds, work, bar=True)
        ratio = self.seconds[f"{work}, padded"] / seconds
        passed = ratio >= TIMES_PADDED if self.device.type == "cuda" else None
        yield judged(f"{work}, packed against padded", f"{ratio:.1f} times", f"≥ {TIMES_PADDED:.0f}", passed=passed)

    def segments(self, work: str) -> Iterator[Row]:
        with segments_only():
            seconds = self._time(self._work(work))
        yield self._row(f"{work}, attention by segments", seconds, work, against=work)

    def apart(self) -> Iterator[Row]:
        seconds = self._time(self.bench.gradient_with_prompts_twice)
        yield self._row("training, each prompt twice", seconds, "training", against="training")

    def recomputing(self) -> Iterator[Row]:
        checkpoint_activations(self.bench.policy)
        seconds = self._time(self.bench.gradient)
        yield self._row("training, activations recomputed", seconds, "training", against="training")

    def whole(self, work: str) -> Iterator[Row]:
        """Time of Llama-3-8B with 32 layers, extrapolated from the times of all these layers and of half of them."""
        bench, layers = self.bench, self.bench.policy.model.layers
        half = len(layers) // 2
        bench.use_layers(layers[:half])
        try:
            seconds, operations = self._time(self._work(work)), self._operations(work)
        finally:
            bench.use_layers(layers)
        what = f"{work}, {WHOLE} layers, from those of {len(layers)} and of {half}"
        if seconds >= self.seconds[work]:
            yield Row(what, "half of the layers took as long as all: too short to say")
            return
        more = (WHOLE - len(layers)) / (len(layers) - half)
        whole = self.seconds[work] + more * (self.seconds[work] - seconds)
        needed = self._operations(work) + more * (self._operations(work) - operations)
        yield self._row(what, whole, work, operations=needed, bar=True, seconds_of_half=seconds)

    def _work(self, work: str) -> Callable[[], object]:
        return {"log-probabilities": self.bench.logprobs, "training": self.bench.gradient}[work]

    def _operations(self, work: str) -> float:
        return self.bench.operations(backward=work == "training")

    def _time(self, work: Callable[[], object]) -> float:
        free_memory(self.device)
        return median_seconds(work, self.device, rounds=3 if self.device.type == "cuda" else 1)

    @functools.cached_property
    def rates(self) -> dict[str, float]:
        """Peak operations per second of matrix products, by the data sheet and as measured."""
        peak = peak_rate(self.device)
        return ({} if peak is None else {"of the data sheet": peak}) | {"of a large product": matrix_rate(self.device)}

    def _row(
        self,
        what: str,
        seconds: float,
        work: str,
        *,
        operations: float | None = None,
        bar: bool = False,
        against: str | None = None,
        **figures: Any,
    ) -> Row:
        bench = self.bench
        shares = {name: (operations or self._operations(work)) / seconds / rate for name, rate in self.rates.items()}
        pairs, tokens = len(bench.pairs) / seconds, bench.tokens / seconds
        parts = [f"{pairs:.3g} pairs/s", f"{tokens:,.0f} tokens/s"]
        parts += [f"{share:.0%} {name}" for name, share in shares.items()]
        if self.device.type == "cuda" and operations is None:
            figures["peak_bytes"] = torch.cuda.max_memory_allocated(self.device)
            parts.append(f"{figures['peak_bytes'] / 1e9:.0f} GB")
        if against is not None:
            parts.append(f"{seconds / self.seconds[against]:.2f} times as long")
        figures |= {"seconds": seconds, "pairs_per_second": pairs, "tokens_per_second": tokens, "shares": shares}
        figures["layers"] = len(bench.policy.model.layers)
        share = shares.get("of the data sheet")
        passed = share >= BAR if bar and share is not None else None
        return judged(what, ", ".join(parts), f"≥ {BAR:.0%}, goal {GOAL:.0%}", passed=passed, **figures)
