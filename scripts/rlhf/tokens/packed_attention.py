"""Attention over packs (see `packing`): causal, and no further than a token's own prompt and response.

Registered with transformers under `NAME`, so that any of its causal decoders runs over packs. On GPUs it is torch's
variable-length flash attention, elsewhere scaled dot-product attention segment by segment.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from rlhf.base.errors import UserError
from rlhf.tokens.packing import Pack

NAME = "packed"
FLASH_TYPES = (torch.bfloat16, torch.float16)
LARGEST_FLASH_HEAD = 256
"""Width of a head up to which torch's flash attention has kernels."""
FLASH_HEAD_STEP = 8
"""The widths that they are for are multiples of this."""
FIRST_FLASH_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs that they run on: Ampere."""


@dataclass(frozen=True)
class HowToAttend:
    """What a model's layer says of its attention."""

    scaling: float
    """Factor of the products of queries and keys."""
    window: int | None = None
    """How many tokens back a token sees, itself included; None for all."""
    softcap: float | None = None
    """Largest score before the softmax; None for no cap."""


def use_packed_attention(model: PreTrainedModel) -> None:
    """Make a decoder of transformers read packs.

    Raises:
        UserError: its attention is written in a way that cannot be exchanged, or is in chunks.
    """
    if not model._supports_attention_backend:
        raise UserError(f"{type(model).__name__}: the attention of this model cannot read packed sequences")
    if chunk := getattr(model.config.get_text_config(), "attention_chunk_size", None):
        raise UserError(
            f"{type(model).__name__}: this model attends in chunks of {chunk} tokens, which packs do not know"
        )
    model.set_attn_implementation(NAME)


def packed_hidden_states(decoder: PreTrainedModel, pack: Pack) -> torch.Tensor:
    """What the decoder's last layer gives for a pack: (tokens, width), in the decoder's type."""
    outputs = decoder(input_ids=pack.input_ids, position_ids=pack.position_ids, use_cache=False, pack=pack)
    return outputs.last_hidden_state[0]


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    pack: Pack,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function as transformers calls it.

    Args:
        query: (1, heads, tokens, head width).
        key, value: (1, key heads, tokens, head width).
        pack: of these tokens.
        sliding_window, softcap: see `HowToAttend`.

    Returns:
        (1, tokens, heads, head width).

    Raises:
        UserError: attention with dropout or sinks, or to what comes later.
    """
    if dropout or s_aux is not None or not getattr(module, "is_causal", False):
        raise UserError(
            "this model's attention has dropout or sinks, or is not causal: it cannot read packed sequences"
        )
    how = HowToAttend(scaling, sliding_window, softcap)
    query, key, value = in_autocast_type(query, key, value)
    attend = attend_by_flash if flash_can_attend(query, key, value, how) else attend_by_segments
    return attend(query[0], key[0], value[0], pack, how).transpose(0, 1)[None], None


AttentionInterface.register(NAME, packed_attention)


def in_autocast_type(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Tensors of one device in autocast's type where it is on there, and as they are where it is not.

    Autocast knows no `varlen_attn`. Rotary embeddings leave queries and keys float32 while values are bfloat16, because
    cosines and sines are of the type of the embedded tokens, and autocast does not touch those.
    """
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)


def flash_can_attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: HowToAttend) -> bool:
    """Whether torch's flash attention has a kernel for these tensors, (..., width), and this attention."""
    width = query.shape[-1]
    return (
        query.dtype == key.dtype == value.dtype
        and query.dtype in FLASH_TYPES
        and value.shape[-1] == width
        and width <= LARGEST_FLASH_HEAD
        and width % FLASH_HEAD_STEP == 0
        and how.softcap is None
        and flash_runs_on(query.device)
        and flash_options(how, width, grouped=False) is not None
    )


@functools.cache
def flash_runs_on(device: torch.device) -> bool:
    """Whether it is a device that torch's flash attention has kernels for."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_FLASH_CAPABILITY


def attend_by_segments(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, how: HowToAttend
) -> torch.Tensor:
    """(heads, tokens, width) of queries, (key heads, tokens, width) of keys and values: as many as the queries."""
    outputs = []
    for segment in pack.segments:
        own = slice(segment.start, segment.stop)
        queries, keys, values = query[:, own], key[:, own], value[:, own]
        if segment.prefix:
            seen = slice(segment.prefix.start, segment.prefix.stop)
            keys, values = torch.cat([key[:, seen], keys], 1), torch.cat([value[:, seen], values], 1)
        if 0 < len(segment.prefix) < segment.tokens:
            # Plain causal attention computes half of the products, which is less even with the prompt's queries again.
            queries = torch.cat([query[:, seen], queries], 1)
        outputs.append(_attend(queries, keys, values, how)[:, -segment.tokens :])
    return torch.cat(outputs, dim=1)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: HowToAttend) -> torch.Tensor:
    """Causal attention of the last tokens of a sequence, the queries, to all of it."""
    tokens, seen = query.shape[1], key.shape[1]
    if how.softcap is not None:
        return _capped_attention(query, key, value, how)
    if tokens == seen and (how.window is None or how.window >= seen):
        return scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=how.scaling, enable_gqa=len(query) != len(key)
        )[0]
    # Heads that share their keys are further queries of one head: the kernel then reads keys once, in larger blocks.
    heads_per_key = len(query) // len(key)
    queries = query.reshape(len(key), heads_per_key * tokens, -1)
    unseen = _unseen(tokens, seen, how.window, query).repeat(heads_per_key, 1)
    return scaled_dot_product_attention(
        queries[None], key[None], value[None], attn_mask=unseen, scale=how.scaling
    ).reshape(len(query), tokens, -1)


def _unseen(tokens: int, seen: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """What to add to the scores of the last `tokens` of a sequence of `seen` tokens: (tokens, seen), 0 or -inf."""
    hidden = torch.full((tokens, seen), float("-inf"), dtype=like.dtype, device=like.device)
    later = hidden.triu(seen - tokens + 1)
    return later if window is None else later + hidden.tril(seen - tokens - window)


def _capped_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: HowToAttend) -> torch.Tensor:
    """Attention whose scores are capped, softcap * tanh(score / softcap), before the softmax (Gemma 2)."""
    assert how.softcap is not None
    groups = len(query) // len(key)
    key, value = key.repeat_interleave(groups, dim=0), value.repeat_interleave(groups, dim=0)
    scores = how.softcap * torch.tanh(query @ key.transpose(1, 2) * how.scaling / how.softcap)
    scores = scores + _unseen(query.shape[1], key.shape[1], how.window, scores)
    return torch.softmax(scores.float(), dim=-1).to(value.dtype) @ value


def attend_by_flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, how: HowToAttend
) -> torch.Tensor:
    """As `attend_by_segments`, in one kernel; where `flash_can_attend`."""
    from torch.nn.attention.varlen import varlen_attn

    layout = pack.flash_layout
    options = flash_options(how, query.shape[-1], grouped=len(query) != len(key))
    assert options is not None
    output = varlen_attn(
        query.transpose(0, 1),
        key.transpose(0, 1)[layout.seen],
        value.transpose(0, 1)[layout.seen],
        layout.query_starts,
        layout.key_starts,
        layout.longest_query,
        layout.longest_key,
        **options,
    )
    assert isinstance(output, torch.Tensor)  # without `return_aux` it is
    return output.transpose(0, 1)


def flash_options(how: HowToAttend, width: int, *, grouped: bool) -> dict[str, Any] | None:
    """How to attend in the keywords of this torch's `varlen_attn`; None where it cannot be said in them.

    They grew: torch 2.10 has `is_causal` in place of `window_size`, and the usual scale alone; `enable_gqa` is of 2.12,
    and before it fewer heads of keys than of queries were taken without being asked for.
    """
    from torch.nn.attention.varlen import varlen_attn

    known = _keywords(varlen_attn)
    options: dict[str, Any] = {}
    if "window_size" in known:
        options["window_size"] = (-1 if how.window is None else how.window - 1, 0)
    elif how.window is None:
        options["is_causal"] = True
    else:
        return None
    if "scale" in known:
        options["scale"] = how.scaling
    elif how.scaling != width**-0.5:
        return None
    if grouped and "enable_gqa" in known:
        options["enable_gqa"] = True
    return options


@functools.cache
def _keywords(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
