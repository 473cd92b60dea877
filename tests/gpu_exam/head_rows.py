"""The head and the log-softmax after it, alone: the pipeline's own, compiled by torch, and torch's built-in functions.

The pipeline's own is `rlhf.logprobs.head`; the others show what replacing it would gain.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

from compiled_head import CompiledHead, compiled_pieces
from record import Row, judged
from rlhf.logprobs.head import TokenLogprobs
from tasks import Exam, Task
from timing import matrix_rate, median_seconds

Head = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
TEMPERATURE = 0.8
LLAMA3 = (13_312, 4096, 128_256)
"""Response tokens of a pack of 16,384, width, vocabulary."""
SMALL = (40, 16, 300)
DIFFERENCE = 2e-2
"""Error of the gradients relative to their norm; all compute their matrix products in bfloat16."""


def tasks(exam: Exam) -> list[Task]:
    heads = Heads(exam.device, small=exam.small)
    missing = "" if hasattr(functional, "linear_cross_entropy") else "this torch has none (2.13 does)"
    return [
        Task("head as it is", 20, heads.as_it_is),
        Task("head, compiled", 90, heads.compiled),
        Task("head by torch's linear_cross_entropy", 20, heads.by_torch, missing),
    ]


class Heads:
    """Hidden states, a head and targets, and the results of the pipeline's own head."""

    def __init__(self, device: torch.device, *, small: bool) -> None:
        self.device = device
        tokens, width, vocabulary = SMALL if small else LLAMA3
        torch.manual_seed(0)
        with device:
            self.hidden = torch.randn(tokens, width).bfloat16().requires_grad_()
            self.linear = nn.Linear(width, vocabulary, bias=False)
            self.targets = torch.randint(vocabulary, (tokens,))
            self.gradient = torch.randn(tokens)
        self.operations = 2.0 * tokens * width * vocabulary

    @functools.cached_property
    def present(self) -> tuple[list[torch.Tensor], tuple[float, float]]:
        """The results of the pipeline's own head, and its seconds."""
        head = TokenLogprobs(self.linear, TEMPERATURE)
        return self._results(head), self._seconds(head)

    def as_it_is(self) -> Iterator[Row]:
        _, seconds = self.present
        yield Row("head as it is", self._shown(seconds), figures={"seconds": seconds})

    def compiled(self) -> Iterator[Row]:
        """On a CPU the functions are not compiled: that would take longer than the rest of a small exam."""
        gpu = self.device.type == "cuda"
        head = CompiledHead(self.linear, TEMPERATURE, compiled_pieces("inductor" if gpu else "eager"))
        yield self._compared("head, compiled" if gpu else "head in pieces, not compiled", head)

    def by_torch(self) -> Iterator[Row]:
        """Its log-probabilities are bfloat16 if its inputs are: too coarse to sum over a response."""
        options = nn.LinearCrossEntropyOptions()

        def head(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            inputs, weight = hidden / TEMPERATURE, self.linear.weight.to(hidden.dtype)
            return -functional.linear_cross_entropy(inputs, weight, targets, reduction="none", options=options)

        yield self._compared("head by torch's linear_cross_entropy", head)

    def _compared(self, what: str, head: Head) -> Row:
        expected, (forward, both) = self.present
        found = self._results(head)
        values, *gradients = (one - wanted for one, wanted in zip(found, expected, strict=True))
        error = float(values.abs().max())
        of_gradients = max(float(a.norm() / b.norm()) for a, b in zip(gradients, expected[1:], strict=True))
        seconds = self._seconds(head)
        gains = f"{forward / seconds[0]:.2f} and {both / seconds[1]:.2f} times as fast"
        return judged(
            what,
            f"{self._shown(seconds)}; {gains}; values differ by {error:.1e}, gradients by {of_gradients:.1e}",
            f"gradients ≤ {DIFFERENCE:.0e}",
            passed=of_gradients <= DIFFERENCE,
            seconds=seconds,
            largest_difference=error,
            gradients=of_gradients,
        )

    def _shown(self, seconds: tuple[float, float]) -> str:
        """Milliseconds of the forward pass and with the backward pass, and the fraction of a large product's rate."""
        forward, both = seconds
        shares = f"{self.operations / forward / self.rate:.0%} and {3 * self.operations / both / self.rate:.0%}"
        return f"forward {1e3 * forward:.3g} ms, with backward {1e3 * both:.3g} ms: {shares} of a large product's rate"

    @functools.cached_property
    def rate(self) -> float:
        return matrix_rate(self.device)

    def _forward(self, head: Head) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return head(self.hidden, self.targets)

    def _both(self, head: Head) -> torch.Tensor:
        self.hidden.grad = self.linear.weight.grad = None
        logprobs = self._forward(head)
        logprobs.backward(self.gradient.to(logprobs.dtype))
        return logprobs.detach()

    def _results(self, head: Head) -> list[torch.Tensor]:
        """Log-probabilities, and the gradients of hidden states and of the head."""
        logprobs = self._both(head)
        assert self.hidden.grad is not None
        assert self.linear.weight.grad is not None
        return [logprobs.float(), self.hidden.grad.float(), self.linear.weight.grad]

    def _seconds(self, head: Head) -> tuple[float, float]:
        """Seconds of the forward pass alone, and with the backward pass."""
        with torch.no_grad():
            forward = median_seconds(lambda: self._forward(head), self.device, rounds=5)
        return forward, median_seconds(lambda: self._both(head), self.device, rounds=5)
