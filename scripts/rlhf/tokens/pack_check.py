"""The check at load time that a model gives the same results for packs as for separate sequences.

Packs replace a decoder's attention and nothing else. Convolutions and recurrent layers would run on from one sequence
into the next, positions counted along the row would be wrong, and changes to the logits after the head would be lost:
all without an error. So a pack of short sequences is compared with the model's own forward pass, with its own attention
and head, on each of them: log-probabilities of a policy (see `rlhf.logprobs.responses`), hidden states of a reward
model's decoder.

Both are computed in float32, whatever the experiment's precision: rounding in bfloat16 is as large as the effect of a
small convolution. The sequences are short, so effects that begin after tens of tokens go unnoticed; for attention in
chunks, `use_packed_attention` reads the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from rlhf.base.errors import UserError
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack, PromptGroup

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROMPTS = ((7, (9, 12)), (5, (16,)))
"""Tokens of each prompt, and of each response to it: a response after another one, and a second prompt."""
LARGEST_DIFFERENCE = 1e-3
"""Of log-probabilities per token, or of hidden states relative to their norm. Rounding in a real model of 30 layers is
2e-5; a convolution over three tokens that runs into the next sequence causes 1e-2."""
OWN_ATTENTION = "eager"
"""The reference implementation in transformers; its SDPA leaves out the capping of scores, for example."""


def check_decoder(decoder: PreTrainedModel) -> None:
    """Make a decoder read packs, as `use_packed_attention` does, and compare its hidden states.

    Raises:
        UserError: its hidden states in a pack differ from those of separate sequences.
    """
    pack = short_pack(decoder)
    decoder.set_attn_implementation(OWN_ATTENTION)
    with torch.no_grad(), weights_at_hand(decoder):
        alone = torch.cat([_own_hidden_states(decoder, *both) for both in pack.sequences()])
        use_packed_attention(decoder)
        hidden = packed_hidden_states(decoder, pack)
    packed = torch.cat([hidden[response.start : response.stop] for response in pack.responses])
    refuse_differences(decoder, "hidden states", (packed - alone).norm(dim=-1) / alone.norm(dim=-1))


def short_pack(model: PreTrainedModel) -> Pack:
    """A pack of fixed ids, the same in every process: random ones would advance the random state."""
    vocabulary = model.config.get_text_config().vocab_size

    def text(number: int, tokens: int) -> list[int]:
        return [(101 * number + 31 * i + 17 * i * i) % vocabulary for i in range(tokens)]

    groups = [
        PromptGroup(text(number, prompt), [text(number + i, tokens) for i, tokens in enumerate(responses, 2)])
        for number, (prompt, responses) in enumerate(PROMPTS)
    ]
    return Pack(groups, model.device)


def refuse_differences(model: PreTrainedModel, what: str, differences: torch.Tensor) -> None:
    """Raise UserError unless every difference is within rounding; NaN is not."""
    if bool((differences <= LARGEST_DIFFERENCE).all()):
        return
    kind = type(model).__name__
    raise UserError(
        f"{model.config.name_or_path or kind}: this {kind} gives different {what} for a pack of sequences than for "
        f"each of them alone: they differ by {float(differences.max()):.3g}, and rounding is below "
        f"{LARGEST_DIFFERENCE:g}. It has layers other than attention that mix tokens (convolutions, recurrent layers), "
        "counts positions along the row, or changes its logits after the head. Use a model with Llama's architecture"
    )


@contextmanager
def weights_at_hand(model: PreTrainedModel) -> Iterator[None]:
    """Within, the weights of each layer are gathered and cast to float32 while the layer computes.

    ZeRO-3 shards weights when they are loaded, and a reward model's may be bfloat16. All layers at once may not fit.
    """
    layers = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    within = {part for layer in layers for part in layer.modules()}
    units = [(layer, list(layer.parameters())) for layer in layers]
    units += [(rest, list(rest.parameters(recurse=False))) for rest in model.modules() if rest not in within]
    with ExitStack() as hooks:
        for module, parameters in units:
            if any(hasattr(one, "ds_id") or one.dtype != torch.float32 for one in parameters):
                for hook in _hooks(module, parameters):
                    hooks.callback(hook.remove)
        yield


def _own_hidden_states(decoder: PreTrainedModel, prompt: list[int], response: list[int]) -> torch.Tensor:
    """Hidden states of the response's tokens by the model's own forward pass: (tokens, width)."""
    ids = torch.tensor([prompt + response], device=decoder.device)
    hidden: torch.Tensor = decoder(input_ids=ids, use_cache=False).last_hidden_state[0, len(prompt) :]
    return hidden


def _hooks(module: nn.Module, parameters: list[nn.Parameter]) -> list[torch.utils.hooks.RemovableHandle]:
    """Gather and cast the parameters before each call of a module, and undo it afterwards."""
    changed = ExitStack()

    def before(*_: object) -> None:
        sharded = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
        if sharded:
            from deepspeed.runtime.zero import GatheredParameters  # type: ignore[import-untyped]

            changed.enter_context(GatheredParameters(sharded))
        for parameter in parameters:
            if parameter.dtype != torch.float32:
                changed.callback(setattr, parameter, "data", parameter.data)
                parameter.data = parameter.data.float()

    def after(*_: object) -> None:
        changed.close()

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
