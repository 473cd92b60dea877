"""The log-probability of responses under a policy: the one function behind `compute_logprobs` and `train_policy`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
from rlhf.logprobs.head import TokenLogprobs
from rlhf.tokens.pack_check import OWN_ATTENTION, refuse_differences, short_pack, weights_at_hand
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Keys of a model's config by which it changes its logits behind the head."""


class ResponseLogprobs(nn.Module):
    """A policy as a function from packs to the log-probabilities of their responses; it takes over its head."""

    def __init__(self, policy: PreTrainedModel, temperature: float) -> None:
        """Raises UserError for a model that caps or scales its logits after the head, or that reads no packs."""
        super().__init__()
        for key in LOGIT_CHANGES:
            if getattr(policy.config, key, None):
                raise UserError(f"{policy.config.name_or_path}: its config has {key}, which is not supported")
        use_packed_attention(policy)
        head = policy.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            raise UserError(f"{policy.config.name_or_path}: its head is a {type(head).__name__}, not one matrix")
        policy.set_output_embeddings(TokenLogprobs(head, temperature))
        self.policy = policy
        self._no_split_modules = policy._no_split_modules  # where FSDP cuts a model, accelerate asks for it

    def forward(self, pack: Pack) -> torch.Tensor:
        """Sum over each response's tokens of log softmax(logits / temperature), given its prompt and earlier tokens.

        Returns:
            float32 (responses,). Only the positions before response tokens reach the head.
        """
        hidden = packed_hidden_states(self.policy.get_decoder(), pack)
        tokens = pack.response_tokens()
        head = self.policy.get_output_embeddings()
        token_logprobs: torch.Tensor = head(hidden[tokens.predictors], pack.input_ids[0, tokens.targets])
        # The sum of a thousand tokens in float32 would be wrong by 1e-2.
        sums = token_logprobs.new_zeros(len(pack.responses), dtype=torch.float64)
        return sums.index_add(0, tokens.of_response, token_logprobs.double()).float()


def checked_logprobs(policy: PreTrainedModel, temperature: float) -> ResponseLogprobs:
    """The policy as `ResponseLogprobs`, after a comparison of both (see `pack_check`).

    Where processes share the weights, every one of them must ask.

    Raises:
        UserError: as `ResponseLogprobs`, or its log-probabilities in a pack are others than by itself.
    """
    pack = short_pack(policy)
    policy.set_attn_implementation(OWN_ATTENTION)
    with torch.no_grad(), weights_at_hand(policy):
        alone = torch.stack([_own_logprob(policy, *both, temperature) for both in pack.sequences()])
    model = ResponseLogprobs(policy, temperature)
    with torch.no_grad(), weights_at_hand(policy):
        packed = model(pack)
    tokens = torch.tensor([response.tokens for response in pack.responses], device=alone.device)
    refuse_differences(policy, "log-probabilities per token", (packed - alone).abs() / tokens)
    return model


def _own_logprob(policy: PreTrainedModel, prompt: list[int], response: list[int], temperature: float) -> torch.Tensor:
    """The definition: the whole model as transformers wrote it, all logits, one sequence. Shape ()."""
    ids = torch.tensor([prompt + response], device=policy.device)
    logits = policy(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits / temperature, dim=-1).gather(1, ids[0, len(prompt) :, None]).sum()


def checkpoint_activations(policy: PreTrainedModel) -> None:
    """Compute a policy's layers again in the backward pass, in place of keeping what they had computed.

    Only the layers themselves are set to training, not what is in them: dropout stays off.
    """
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    for module in policy.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The precision of the computation: float32 weights, and bfloat16 matrix products where it is asked for.

    Without autocast's cache of rounded weights: each is used once in a pass, and would be kept until its end.
    """
    enabled = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
