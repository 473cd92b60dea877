"""What sampling engines have in common: requests, completions, and checks before sampling starts.

An engine is a module of `rlhf.responses.engines`, named like the value of `responses.engine` that selects it. Its
function `start` takes a `SamplingJob` and returns an `Engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rlhf.base.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from rlhf.machine.progress import Progress
    from rlhf.responses.settings import SamplingSettings


@dataclass(frozen=True)
class Request:
    """A prompt as token ids, and the seed of each of its draws."""

    prompt_id: str
    prompt_token_ids: list[int]
    seeds: list[int]


FINISH_REASONS = ("stop", "length")
"""How a response ends: with a stop token, or truncated at the length limit."""


@dataclass(frozen=True)
class Completion:
    """A response exactly as sampled; its last token is the stop token, if one was sampled."""

    token_ids: list[int]
    finish_reason: str
    """One of `FINISH_REASONS`."""


@dataclass(frozen=True)
class SamplingJob:
    """Arguments of an engine's `start`."""

    model: str
    """Hub name or folder."""
    revision: str | None
    sampling: SamplingSettings
    device: torch.device
    gpus: int
    """0 means the CPU."""
    threads: int
    """Compute threads."""
    token_budget: int
    """Tokens of prompts and responses in one batch, for engines that do not schedule their own batches."""


class Engine(Protocol):
    """Samples all draws of all requests. The result must not depend on how requests are batched."""

    def sample(self, requests: Sequence[Request], progress: Progress) -> list[list[Completion]]:
        """The completions of each request, in the order of its seeds. Advances `progress` by each response."""
        ...


def check_context(requests: Sequence[Request], sampling: SamplingSettings, context: int | None) -> None:
    """Raise UserError if the longest prompt with a response of `max_tokens` exceeds the model's context.

    Args:
        context: context length of the model, if it has one; `sampling.max_model_len` may be shorter.
    """
    limits = [limit for limit in (context, sampling.max_model_len) if limit is not None]
    longest = max(requests, key=lambda request: len(request.prompt_token_ids))
    needed = len(longest.prompt_token_ids) + sampling.max_tokens
    if limits and needed > min(limits):
        raise UserError(
            f"prompt {longest.prompt_id} has {len(longest.prompt_token_ids)} tokens; with responses.max_tokens "
            f"{sampling.max_tokens} that makes {needed}, more than the limit of {min(limits)} (the model's context is "
            f"{context}, responses.max_model_len {sampling.max_model_len}). Lower `prompts.max_tokens` or "
            "`responses.max_tokens`."
        )


def stop_token_ids(
    generation_config: GenerationConfig, tokenizer: PreTrainedTokenizerBase, extra: Sequence[str]
) -> list[int]:
    """IDs of the tokens that end a response: those of the generation config, of the tokenizer, and `extra`.

    Args:
        extra: further stop tokens, as text.

    Raises:
        UserError: there is no stop token, or one of `extra` is not in the vocabulary.
    """
    configured = generation_config.eos_token_id
    ids = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    vocabulary = tokenizer.get_vocab()
    for text in extra:
        if text not in vocabulary:
            raise UserError(f"responses.stop_tokens: {text!r} is not a token of {tokenizer.name_or_path!r}")
        ids.add(vocabulary[text])
    found = sorted(token for token in ids if token is not None)
    if not found:
        raise UserError("the model has no stop token: neither its generation config nor its tokenizer names one")
    return found
