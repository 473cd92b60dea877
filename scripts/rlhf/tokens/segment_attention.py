"""Attention over a pack by scaled dot-product attention, one segment after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from rlhf.tokens.packing import Pack


@dataclass(frozen=True)
class AttentionOptions:
    """Options of a layer's attention."""

    scaling: float
    """Factor of the products of queries and keys."""
    window: int | None = None
    """Sliding window: how many tokens a token attends to, including itself; None is unlimited."""
    softcap: float | None = None
    """Cap of the scores before the softmax; None disables it."""


def attend_by_segments(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: Pack, options: AttentionOptions
) -> torch.Tensor:
    """Attention for one segment after the other.

    Args:
        query: (heads, tokens, width).
        key, value: (key heads, tokens, width).

    Returns:
        (heads, tokens, width).
    """
    outputs = []
    for segment in pack.segments:
        own = slice(segment.start, segment.stop)
        queries, keys, values = query[:, own], key[:, own], value[:, own]
        if segment.prefix:
            seen = slice(segment.prefix.start, segment.prefix.stop)
            keys, values = torch.cat([key[:, seen], keys], 1), torch.cat([value[:, seen], values], 1)
        if 0 < len(segment.prefix) < segment.tokens:
            # Plain causal attention skips half of the products, which saves more than repeating the prompt's queries.
            queries = torch.cat([query[:, seen], queries], 1)
        outputs.append(_attend(queries, keys, values, options)[:, -segment.tokens :])
    return torch.cat(outputs, dim=1)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions) -> torch.Tensor:
    """Causal attention of the last tokens of a sequence, the queries, to the whole sequence."""
    tokens, seen = query.shape[1], key.shape[1]
    if options.softcap is not None:
        return _capped_attention(query, key, value, options)
    if tokens == seen and (options.window is None or options.window >= seen):
        return scaled_dot_product_attention(
            query[None],
            key[None],
            value[None],
            is_causal=True,
            scale=options.scaling,
            enable_gqa=len(query) != len(key),
        )[0]
    # Heads that share keys become further queries of one head: the kernel then reads the keys once, in larger blocks.
    heads_per_key = len(query) // len(key)
    queries = query.reshape(len(key), heads_per_key * tokens, -1)
    unseen = _unseen(tokens, seen, options.window, query).repeat(heads_per_key, 1)
    return scaled_dot_product_attention(
        queries[None], key[None], value[None], attn_mask=unseen, scale=options.scaling
    ).reshape(len(query), tokens, -1)


def _unseen(tokens: int, seen: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """Additive mask for the last `tokens` of a sequence of `seen` tokens: (tokens, seen), 0 or -inf."""
    hidden = torch.full((tokens, seen), float("-inf"), dtype=like.dtype, device=like.device)
    later = hidden.triu(seen - tokens + 1)
    return later if window is None else later + hidden.tril(seen - tokens - window)


def _capped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: AttentionOptions
) -> torch.Tensor:
    """Attention whose scores are capped, softcap * tanh(score / softcap), before the softmax (Gemma 2)."""
    assert options.softcap is not None
    groups = len(query) // len(key)
    key, value = key.repeat_interleave(groups, dim=0), value.repeat_interleave(groups, dim=0)
    scores = options.softcap * torch.tanh(query @ key.transpose(1, 2) * options.scaling / options.softcap)
    scores = scores + _unseen(query.shape[1], key.shape[1], options.window, scores)
    return torch.softmax(scores.float(), dim=-1).to(value.dtype) @ value
