"""Each path of packed attention, with its gradients, against the definition in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import torch

from cases import SMALL_PAIRS
from preference_pairs import TEMPERATURE, autocast, made_pairs, random_policy
from record import Row, judged, not_measured
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.tokens import packed_attention
from rlhf.tokens.packed_attention import HowToAttend, attend_by_flash, attend_by_segments, flash_options
from rlhf.tokens.packing import Pack, PromptGroup
from tasks import Exam, Task

BARS = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (1e-2, 2e-2)}
"""Relative errors of outputs and of gradients. Products of bfloat16 numbers leave between 1e-3 and 1e-2."""


@dataclass(frozen=True)
class Shape:
    heads: int
    key_heads: int
    width: int
    window: int
    lengths: tuple[tuple[int, tuple[int, ...]], ...]
    """Of each prompt and of its responses."""


LLAMA3 = Shape(32, 8, 128, 300, ((170, (410, 700)), (1, (128,)), (500, (3, 257)), (64, (64, 1))))
SMALL = Shape(8, 2, 16, 6, ((7, (3, 12)), (1, (9,)), (15, (2, 2))))


def tasks(exam: Exam) -> list[Task]:
    shape = SMALL if exam.small else LLAMA3
    device = exam.device
    found = [Task("flash attention is reached", 20, lambda: reached(device), exam.no_gpu)]
    for name, dtype in (("flash", torch.bfloat16), ("segments", torch.bfloat16), ("segments", torch.float32)):
        kind = str(dtype).removeprefix("torch.")
        missing = exam.no_gpu if name == "flash" else ""
        for window in (None, shape.window):
            seen = "all" if window is None else f"window {window}"
            what = f"attention by {name}, {kind}, {shape.heads}:{shape.key_heads} heads of {shape.width}, {seen}"
            how = HowToAttend(shape.width**-0.5, window)
            found.append(Task(what, 10, functools.partial(compare, what, name, dtype, how, shape, device), missing))
    what = f"attention by segments, float32, capped scores, window {shape.window}"
    capped = HowToAttend(shape.width**-0.5, shape.window, softcap=2.0)
    return [*found, Task(what, 10, functools.partial(compare, what, "segments", torch.float32, capped, shape, device))]


def compare(
    what: str, name: str, dtype: torch.dtype, how: HowToAttend, shape: Shape, device: torch.device
) -> Iterator[Row]:
    """One path: what it gives, and the gradients of queries, keys and values."""
    if name == "flash" and flash_options(how, shape.width, grouped=True) is None:
        yield not_measured(what, f"the varlen_attn of torch {torch.__version__} cannot do it")
        return
    groups = [PromptGroup([0] * prompt, [[0] * count for count in counts]) for prompt, counts in shape.lengths]
    pack = Pack(groups, device)
    torch.manual_seed(0)
    tokens = pack.input_ids.numel()
    heads = (shape.heads, shape.key_heads, shape.key_heads)
    inputs = [torch.randn(count, tokens, shape.width, device=device).to(dtype) for count in heads]
    weight = torch.randn(shape.heads, tokens, shape.width, device=device).to(dtype)
    attend = {"flash": attend_by_flash, "segments": attend_by_segments}[name]
    found = outputs_and_gradients(lambda q, k, v: attend(q, k, v, pack, how), inputs, weight)
    seen = visible(shape, how.window, device)
    exact = [tensor.double() for tensor in inputs]
    expected = outputs_and_gradients(lambda q, k, v: by_definition(q, k, v, seen, how), exact, weight.double())
    output, *gradients = (relative_error(a, b) for a, b in zip(found, expected, strict=True))
    bars = BARS[dtype]
    yield judged(
        what,
        f"output {output:.1e}, gradients {max(gradients):.1e}",
        f"≤ {bars[0]:.0e}, ≤ {bars[1]:.0e}",
        passed=output <= bars[0] and all(error <= bars[1] for error in gradients),
        output=output,
        **dict(zip(("query", "key", "value"), gradients, strict=True)),
        tokens=tokens,
    )


def outputs_and_gradients(
    attend: Callable[..., torch.Tensor], inputs: list[torch.Tensor], weight: torch.Tensor
) -> list[torch.Tensor]:
    """(heads, tokens, width), and the gradients of its product with `weight`."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    output = attend(*leaves)
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), leaves)]


def visible(shape: Shape, window: int | None, device: torch.device) -> torch.Tensor:
    """Whether a token sees another, bool (tokens, tokens): by group, response (0 for the prompt) and position."""
    places = [
        place
        for group, (prompt, counts) in enumerate(shape.lengths)
        for place in (
            *((group, 0, position) for position in range(prompt)),
            *((group, 1 + n, prompt + position) for n, count in enumerate(counts) for position in range(count)),
        )
    ]
    group, response, position = torch.tensor(places, device=device).unbind(1)
    back = position[:, None] - position
    own = (response == response[:, None]) | (response == 0)
    return (group == group[:, None]) & own & (back >= 0) & (back < (window or len(places)))


def by_definition(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, how: HowToAttend
) -> torch.Tensor:
    """All scores at once."""
    groups = len(query) // len(key)
    key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
    scores = query @ key.transpose(1, 2) * how.scaling
    if how.softcap is not None:
        scores = how.softcap * torch.tanh(scores / how.softcap)
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def reached(device: torch.device) -> Iterator[Row]:
    """Calls of flash attention in a forward and backward pass of a policy under autocast."""
    options = {**SMALL_PAIRS, "hidden": 128, "layers": 3}
    model = ResponseLogprobs(random_policy(options, device), TEMPERATURE)
    pack = Pack([pair.prompt_group for pair in made_pairs(options)], device)
    with mock.patch.object(packed_attention, "attend_by_flash", wraps=attend_by_flash) as calls:
        with autocast(device, "bfloat16"):
            logprobs = model(pack)
        logprobs.sum().backward()
    yield judged(
        "flash attention is reached by a policy under autocast",
        f"{calls.call_count} calls in {options['layers']} layers",
        f"{options['layers']}",
        passed=calls.call_count == options["layers"],
        calls=calls.call_count,
    )
