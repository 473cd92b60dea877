"""The log-probability of responses under a policy: the one function behind `compute_logprobs` and `train_policy`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rlhf.errors import UserError
from rlhf.models import Precision
from rlhf.sequence_batches import pad_right

if TYPE_CHECKING:
    from transformers import PreTrainedModel


HEAD_CHUNK = 1024
"""Tokens whose logits exist at once; the backward pass computes them again, chunk by chunk."""


class ResponseLogprobs(nn.Module):
    """A policy as a function from token ids to the log-probabilities of responses."""

    def __init__(self, policy: PreTrainedModel, temperature: float) -> None:
        """Raises UserError for a model that caps or scales its logits after the head: it is not supported."""
        super().__init__()
        for key in ("final_logit_softcapping", "logit_scale"):
            if getattr(policy.config, key, None):
                raise UserError(f"{policy.config.name_or_path}: its config has {key}, which is not supported")
        self.policy = policy
        self.temperature = temperature

    def forward(self, input_ids: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
        """Sum over a response's tokens of log softmax(logits / temperature), given prompt and earlier tokens.

        Args:
            input_ids: int64 (sequences, length), padded on the right; attention is causal, so what is behind a
                sequence does not reach it.
            response_mask: bool (sequences, length), true at the response's tokens; the first column is false.

        Returns:
            float32 (sequences,). Only the positions before response tokens reach the head; float32 from the logits on.
        """
        hidden = self.policy.get_decoder()(input_ids=input_ids, use_cache=False).last_hidden_state
        predicts = response_mask.roll(-1, dims=1)
        chunks = zip(hidden[predicts].split(HEAD_CHUNK), input_ids[response_mask].split(HEAD_CHUNK), strict=True)
        token_logprobs = torch.cat([checkpoint(self._token_logprobs, *chunk, use_reentrant=False) for chunk in chunks])
        sequence = response_mask.nonzero()[:, 0]
        return token_logprobs.new_zeros(len(input_ids)).index_add(0, sequence, token_logprobs)

    def _token_logprobs(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(tokens, width) and the tokens' ids to their log-probabilities, float32 (tokens,)."""
        logits = self.policy.get_output_embeddings()(hidden).float() / self.temperature
        return -functional.cross_entropy(logits, targets, reduction="none")


def pad_pairs(
    prompts: Sequence[list[int]], responses: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids int64 and response mask bool, both (sequences, longest), padded on the right."""
    ids = pad_right([prompt + response for prompt, response in zip(prompts, responses, strict=True)], device)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        mask[row, len(prompt) : len(prompt) + len(response)] = True
    return ids, mask.to(device)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The precision of the computation: float32 weights, and bfloat16 matrix products where it is asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
