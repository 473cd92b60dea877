"""What the sampling engines share: a request, a completion, and the checks before the first token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rlhf.errors import UserError

if TYPE_CHECKING:
    from rlhf.progress import Progress


@dataclass(frozen=True)
class Request:
    """A prompt as token ids, and the seed of each of its draws."""

    prompt_id: str
    prompt_token_ids: list[int]
    seeds: list[int]


@dataclass(frozen=True)
class Completion:
    """A response exactly as sampled; the stop token, if it came, is its last one."""

    token_ids: list[int]
    finish_reason: str
    """`stop`, or `length` where it was cut at the limit."""


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample."""

    temperature: float
    top_p: float
    max_tokens: int


class Engine(Protocol):
    """Samples all draws of all requests; the result does not depend on how it groups them."""

    def sample(
        self, requests: Sequence[Request], sampling: SamplingSettings, progress: Progress
    ) -> list[list[Completion]]:
        """The completions of each request, in the order of its seeds; `progress` counts responses."""
        ...


def check_context(requests: Sequence[Request], max_tokens: int, context: int | None) -> None:
    """Raise UserError where a prompt and a response of `max_tokens` do not fit the model's context."""
    longest = max(requests, key=lambda request: len(request.prompt_token_ids))
    needed = len(longest.prompt_token_ids) + max_tokens
    if context is not None and needed > context:
        raise UserError(
            f"prompt {longest.prompt_id} has {len(longest.prompt_token_ids)} tokens; with responses.max_tokens "
            f"{max_tokens} that makes {needed}, and the model's context is {context}. Lower `prompts.max_tokens` or "
            "`responses.max_tokens`."
        )


def stop_token_ids(generation_config: Any, tokenizer: Any) -> list[int]:
    """The model's own stop tokens: those of its generation config, and the tokenizer's end-of-sequence token."""
    configured = getattr(generation_config, "eos_token_id", None)
    ids = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    found = sorted(token for token in ids if token is not None)
    if not found:
        raise UserError("the model names no stop token: neither its generation config nor its tokenizer has one")
    return found
