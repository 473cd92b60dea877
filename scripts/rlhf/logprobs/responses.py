"""Log-probabilities of responses under a policy: the one function that `compute_logprobs` and `train_policy` share."""

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
"""Config keys of models that transform their logits after the head."""


class ResponseLogprobs(nn.Module):
    """Wraps a policy so that it returns one log-probability per packed response; replaces the output head in place."""

    def __init__(self, policy: PreTrainedModel, temperature: float) -> None:
        """Raises UserError if the model caps or scales its logits after the head, or does not support packs."""
        super().__init__()
        for key in LOGIT_CHANGES:
            if getattr(policy.config, key, None):
                raise UserError(f"{policy.config.name_or_path}: its config has {key}, which is not supported")
        use_packed_attention(policy)
        head = policy.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            raise UserError(f"{policy.config.name_or_path}: its output head is a {type(head).__name__}, not a Linear")
        policy.set_output_embeddings(TokenLogprobs(head, temperature))
        self.policy = policy
        self._no_split_modules = policy._no_split_modules  # accelerate reads this to wrap layers for FSDP

    def forward(self, pack: Pack, expected: bool = False) -> torch.Tensor:
        """Log-probability of each response given its prompt: sum of log softmax(logits / temperature) over its tokens.

        Only the positions that predict response tokens go through the head.

        Returns:
            float32 (responses,); with `expected` the sums of both columns of `TokenLogprobs`, (responses, 2).
        """
        hidden = packed_hidden_states(self.policy.get_decoder(), pack)
        tokens = pack.response_tokens()
        head = self.policy.get_output_embeddings()
        targets = pack.input_ids[0, tokens.targets]
        token_logprobs: torch.Tensor = head(hidden[tokens.predictors], targets, expected)
        # Summing a thousand tokens in float32 would be off by 1e-2.
        sums = token_logprobs.new_zeros(len(pack.responses), *token_logprobs.shape[1:], dtype=torch.float64)
        return sums.index_add(0, tokens.of_response, token_logprobs.double()).float()


def checked_logprobs(policy: PreTrainedModel, temperature: float) -> ResponseLogprobs:
    """Wrap a policy in `ResponseLogprobs`, and check it against the unwrapped policy (see `pack_check`).

    If processes shard the weights, all of them must call this.

    Raises:
        UserError: as `ResponseLogprobs`, or packed log-probabilities differ from those of separate sequences.
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
    """The definition: one sequence through the unmodified model, with all logits. Shape ()."""
    ids = torch.tensor([prompt + response], device=policy.device)
    logits = policy(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits / temperature, dim=-1).gather(1, ids[0, len(prompt) :, None]).sum()


def checkpoint_activations(policy: PreTrainedModel) -> None:
    """Enable activation checkpointing: recompute a policy's layers in the backward pass instead of storing activations.

    Only the layers themselves are in training mode, not their submodules, so dropout stays off.
    """
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    for module in policy.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Autocast for the precision of the computation: weights are float32, matrix products bfloat16 if asked for.

    Autocast's weight cache is disabled: each weight is used once per pass, but would be cached until its end.
    """
    enabled = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
