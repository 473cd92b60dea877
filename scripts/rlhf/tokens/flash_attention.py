"""Attention over a pack by torch's variable-length flash attention, on GPUs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from rlhf.tokens.packing import Pack
from rlhf.tokens.segment_attention import AttentionOptions

FLASH_TYPES = (torch.bfloat16, torch.float16)
LARGEST_FLASH_HEAD = 256
"""Largest head width that torch's flash attention has kernels for."""
FLASH_HEAD_STEP = 8
"""Head widths must be multiples of this."""
FIRST_FLASH_CAPABILITY = (8, 0)
"""Lowest compute capability of a GPU that they run on: Ampere."""


def flash_can_attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions) -> bool:
    """Whether torch's flash attention has a kernel for these tensors, (..., width), and these options."""
    width = query.shape[-1]
    return (
        query.dtype == key.dtype == value.dtype
        and query.dtype in FLASH_TYPES
        and value.shape[-1] == width
        and width <= LARGEST_FLASH_HEAD
        and width % FLASH_HEAD_STEP == 0
        and options.softcap is None
        and flash_runs_on(query.device)
        and varlen_keywords(options, width, grouped=False) is not None
    )


@functools.cache
def flash_runs_on(device: torch.device) -> bool:
    """Whether torch's flash attention has kernels for the device."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_FLASH_CAPABILITY


def attend_by_flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, options: AttentionOptions
) -> torch.Tensor:
    """Compute what `attend_by_segments` does, in one kernel; requires `flash_can_attend`."""
    from torch.nn.attention.varlen import varlen_attn

    layout = pack.flash_layout
    keywords = varlen_keywords(options, query.shape[-1], grouped=len(query) != len(key))
    assert keywords is not None
    output = varlen_attn(
        query.transpose(0, 1),
        key.transpose(0, 1)[layout.seen],
        value.transpose(0, 1)[layout.seen],
        layout.query_starts,
        layout.key_starts,
        layout.longest_query,
        layout.longest_key,
        **keywords,
    )
    assert isinstance(output, torch.Tensor)  # a tuple only with `return_aux`
    return output.transpose(0, 1)


def varlen_keywords(options: AttentionOptions, width: int, *, grouped: bool) -> dict[str, Any] | None:
    """The options as keywords of this torch's `varlen_attn`; None if it does not support them.

    The keywords depend on the version: torch 2.10 has `is_causal` instead of `window_size`, and only the default scale;
    2.12 added `enable_gqa`, before which fewer heads of keys than of queries were accepted without it.
    """
    from torch.nn.attention.varlen import varlen_attn

    parameters = _parameters(varlen_attn)
    keywords: dict[str, Any] = {}
    if "window_size" in parameters:
        keywords["window_size"] = (-1 if options.window is None else options.window - 1, 0)
    elif options.window is None:
        keywords["is_causal"] = True
    else:
        return None
    if "scale" in parameters:
        keywords["scale"] = options.scaling
    elif options.scaling != width**-0.5:
        return None
    if grouped and "enable_gqa" in parameters:
        keywords["enable_gqa"] = True
    return keywords


@functools.cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
