"""Attention over packs (see `packing`): causal, and limited to a token's own prompt and response.

Registered with transformers under `NAME`, so that any of its causal decoders can run on packs. On GPUs it uses torch's
variable-length flash attention, elsewhere scaled dot-product attention for one segment at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

from rlhf.base.errors import UserError
from rlhf.tokens.flash_attention import attend_by_flash, flash_can_attend
from rlhf.tokens.packing import Pack
from rlhf.tokens.segment_attention import AttentionOptions, attend_by_segments

NAME = "packed"


def use_packed_attention(model: PreTrainedModel) -> None:
    """Make a decoder of transformers read packs, in place.

    Raises:
        UserError: its attention cannot be replaced, or attends in chunks.
    """
    if not model._supports_attention_backend:
        raise UserError(f"{type(model).__name__}: the attention of this model cannot read packed sequences")
    if chunk := getattr(model.config.get_text_config(), "attention_chunk_size", None):
        raise UserError(
            f"{type(model).__name__}: this model attends in chunks of {chunk} tokens, which packs do not support"
        )
    model.set_attn_implementation(NAME)


def packed_hidden_states(decoder: PreTrainedModel, pack: Pack) -> torch.Tensor:
    """The decoder's last hidden states for a pack: (tokens, width), in the decoder's dtype."""
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
    """The attention function, with the signature that transformers calls.

    Args:
        query: (1, heads, tokens, head width).
        key, value: (1, key heads, tokens, head width).
        pack: the pack of these tokens.
        sliding_window, softcap: see `AttentionOptions`.

    Returns:
        (1, tokens, heads, head width).

    Raises:
        UserError: attention with dropout or sinks, or that is not causal.
    """
    if dropout or s_aux is not None or not getattr(module, "is_causal", False):
        raise UserError(
            "this model's attention has dropout or sinks, or is not causal: it cannot read packed sequences"
        )
    options = AttentionOptions(scaling, sliding_window, softcap)
    query, key, value = in_autocast_type(query, key, value)
    attend = attend_by_flash if flash_can_attend(query, key, value, options) else attend_by_segments
    return attend(query[0], key[0], value[0], pack, options).transpose(0, 1)[None], None


AttentionInterface.register(NAME, packed_attention)


def in_autocast_type(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cast tensors of one device to autocast's dtype if it is enabled there.

    Autocast does not cover `varlen_attn`. Rotary embeddings leave queries and keys in float32 while values are
    bfloat16, because cosines and sines have the dtype of the embedded tokens, which autocast does not change.
    """
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)
