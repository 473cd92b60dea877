"""A pair in the padded layout of the tutorial "RLHF 101", for comparison: the pipeline does not pad to a fixed length.

In the tutorial every prompt is padded on the left to 1024 tokens and every response on the right to 2048, with a token
`[PAD]` that is appended to Llama-3's 128,256 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.base.errors import UserError

PROMPT_LENGTH = 1024
RESPONSE_LENGTH = 2048
PAD_ID = 128256
"""Llama-3 itself has no such token, so every other token is attended to."""


def padded_pair(
    prompt_token_ids: Sequence[int], chosen_token_ids: Sequence[int], rejected_token_ids: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The prompt with its chosen and with its rejected response, 3072 token ids each; the response begins at 1024.

    Args:
        prompt_token_ids: the templated prompt with the assistant's header (`encode_prompt`).
        chosen_token_ids: the response with its end-of-turn token (`encode_response`).
        rejected_token_ids: the same for the rejected response.

    Raises:
        UserError: the prompt has more than 1024 tokens or a response more than 2048; nothing is truncated.
    """
    prompt = [*_padding("prompt", prompt_token_ids, PROMPT_LENGTH), *prompt_token_ids]
    chosen = [*chosen_token_ids, *_padding("chosen response", chosen_token_ids, RESPONSE_LENGTH)]
    rejected = [*rejected_token_ids, *_padding("rejected response", rejected_token_ids, RESPONSE_LENGTH)]
    return prompt + chosen, prompt + rejected


def _padding(what: str, token_ids: Sequence[int], length: int) -> list[int]:
    if len(token_ids) > length:
        raise UserError(
            f"a {what} of {len(token_ids)} tokens does not fit the padded layout, which has {length} for it: leave the "
            "pair out"
        )
    return [PAD_ID] * (length - len(token_ids))
