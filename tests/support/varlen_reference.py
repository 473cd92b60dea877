"""Torch's variable-length flash attention in plain torch, to test the code around it without a GPU."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen

import rlhf.tokens.flash_attention
import rlhf.tokens.segment_attention


class VarlenReference:
    """Replaces `varlen_attn`: has its signature, checks the kernel's requirements, and counts calls."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.__signature__ = signature
        self.calls = 0

    def __call__(self, *arguments: Any, **keywords: Any) -> torch.Tensor:
        given = self.__signature__.bind(*arguments, **keywords)  # a keyword that it lacks is a TypeError
        given.apply_defaults()
        values = given.arguments
        query, key, value, query_starts, key_starts, longest_query, longest_key = list(values.values())[:7]
        for one in (query, key, value):
            assert one.dtype in (torch.bfloat16, torch.float16)
            assert one.dtype == query.dtype
            assert one.ndim == 3
            assert one.shape[2] == query.shape[2]
            assert one.shape[2] % 8 == 0
            assert one.stride(2) == 1
        assert key.shape == value.shape
        if query.shape[1] != key.shape[1]:
            assert values.get("enable_gqa", True)
            assert query.shape[1] % key.shape[1] == 0
        for starts, tensor, longest in ((query_starts, query, longest_query), (key_starts, key, longest_key)):
            assert starts.dtype == torch.int32
            assert type(longest) is int
            assert starts[0] == 0
            assert starts[-1] == len(tensor)
            assert starts.diff().max() == longest
        assert len(query_starts) == len(key_starts)
        left, right = values.get("window_size", (-1, 0 if values.get("is_causal") else -1))
        scale = values.get("scale") or query.shape[2] ** -0.5
        self.calls += 1
        pieces = zip(
            query_starts.tolist()[:-1],
            query_starts.tolist()[1:],
            key_starts.tolist()[:-1],
            key_starts.tolist()[1:],
            strict=True,
        )
        rows = [_attention(query[a:b], key[c:d], value[c:d], left, right, scale) for a, b, c, d in pieces]
        return torch.cat(rows).to(query.dtype)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, left: int, right: int, scale: float
) -> torch.Tensor:
    """Attention of one sequence, (tokens, heads, width), in float64; the last query is at the last key."""
    groups = query.shape[1] // key.shape[1]
    query, key, value = query.double(), key.double(), value.double()
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.einsum("qhw,khw->hqk", query, key) * scale
    distance = torch.arange(len(key)) - (torch.arange(len(query)) + len(key) - len(query))[:, None]
    hidden = torch.zeros_like(distance, dtype=torch.bool)
    if left >= 0:
        hidden |= distance < -left
    if right >= 0:
        hidden |= distance > right
    return torch.einsum("hqk,khw->qhw", scores.masked_fill(hidden, float("-inf")).softmax(-1), value)


@contextmanager
def flash_on_the_cpu(signature: inspect.Signature | None = None) -> Iterator[VarlenReference]:
    """Within it, the CPU counts as a device with flash kernels, and calling SDPA is an error.

    Args:
        signature: of `varlen_attn`; None: this torch's own.
    """
    reference = VarlenReference(signature or inspect.signature(varlen.varlen_attn))

    def no_segments(*_: Any, **__: Any) -> torch.Tensor:
        raise AssertionError("scaled_dot_product_attention was called")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", reference)
        patch.setattr(rlhf.tokens.flash_attention, "flash_runs_on", lambda device: device.type == "cpu")
        patch.setattr(rlhf.tokens.segment_attention, "scaled_dot_product_attention", no_segments)
        yield reference
