"""The log-probability of responses under a policy: the one function behind `compute_logprobs` and `train_policy`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rlhf.errors import UserError
from rlhf.models import Precision
from rlhf.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.packing import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


HEAD_CHUNK = 1024
"""Tokens whose logits exist at once; the backward pass computes them again, chunk by chunk."""


class ResponseLogprobs(nn.Module):
    """A policy as a function from packs to the log-probabilities of their responses."""

    def __init__(self, policy: PreTrainedModel, temperature: float) -> None:
        """Raises UserError for a model that caps or scales its logits after the head, or that reads no packs."""
        super().__init__()
        for key in ("final_logit_softcapping", "logit_scale"):
            if getattr(policy.config, key, None):
                raise UserError(f"{policy.config.name_or_path}: its config has {key}, which is not supported")
        use_packed_attention(policy)
        self.policy = policy
        self.temperature = temperature

    def forward(self, pack: Pack) -> torch.Tensor:
        """Sum over each response's tokens of log softmax(logits / temperature), given its prompt and earlier tokens.

        Returns:
            float32 (responses,). Only the positions before response tokens reach the head; float32 from the logits on.
        """
        hidden = packed_hidden_states(self.policy.get_decoder(), pack)
        tokens = pack.response_tokens()
        targets = pack.input_ids[0, tokens.targets]
        chunks = zip(hidden[tokens.predictors].split(HEAD_CHUNK), targets.split(HEAD_CHUNK), strict=True)
        token_logprobs = torch.cat([checkpoint(self._token_logprobs, *chunk, use_reentrant=False) for chunk in chunks])
        return token_logprobs.new_zeros(len(pack.responses)).index_add(0, tokens.of_response, token_logprobs)

    def _token_logprobs(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(tokens, width) and the tokens' ids to their log-probabilities, float32 (tokens,)."""
        logits = self.policy.get_output_embeddings()(hidden).float() / self.temperature
        return -functional.cross_entropy(logits, targets, reduction="none")


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The precision of the computation: float32 weights, and bfloat16 matrix products where it is asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
