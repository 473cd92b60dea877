"""Scoring by a reward model: the prompt of the draws is computed once, and nothing is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf.machine.progress import Progress
from rlhf.rewards.scorer import Score
from rlhf.tokens.chat import encode_conversation, encode_prompt
from rlhf.tokens.packing import Pack, PromptGroup, pack_budget, pack_groups
from rlhf.tokens.token_budget import TokenBudget

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RewardOutput(NamedTuple):
    """Rewards of the responses of a pack, float32."""

    score: torch.Tensor
    """(responses,)."""
    objectives: torch.Tensor | None = None
    """(responses, objectives), where the model has them."""


class RewardModel(Protocol):
    """A reward model as a function of packs."""

    longest: int
    """The longest conversation that it takes, in tokens."""
    objective_names: tuple[str, ...]

    def __call__(self, pack: Pack) -> RewardOutput: ...


RewardFunction = Callable[[Pack], RewardOutput]


@torch.inference_mode()
def score_conversations(
    reward: RewardFunction,
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[tuple[str, str]],
    max_tokens: int,
    token_budget: int,
    progress: Progress,
) -> list[Score]:
    """Score (prompt, response) texts. Equal ones are scored once: their rewards are exactly equal.

    Args:
        reward: the model.
        max_tokens: a longer conversation is not cut, it has no reward (`too_long`).
        token_budget: tokens in one forward pass; fewer from where memory runs out.
        progress: counts distinct conversations.

    Returns:
        In the order of the conversations.
    """
    left: dict[str, dict[str, NDArray[np.int32]]] = {}
    scores: dict[tuple[str, str], Score] = {}
    for prompt, response in dict.fromkeys(conversations):
        ids = encode_conversation(tokenizer, prompt, response)
        if len(ids) > max_tokens:
            scores[prompt, response] = Score(None, "too_long")
        else:
            left.setdefault(prompt, {})[response] = np.array(ids, np.int32)  # a list takes nine times the memory
    progress.advance(len(scores))

    def score_left(tokens: int) -> None:
        prompts = [prompt for prompt in left if left[prompt]]
        responses = [list(left[prompt]) for prompt in prompts]
        heads = (np.array(encode_prompt(tokenizer, prompt), np.int32) for prompt in prompts)
        groups = [shared_prefix(head, list(left[prompt].values())) for head, prompt in zip(heads, prompts, strict=True)]
        for members in pack_groups(groups, pack_budget(tokens, device)):
            parts = [PromptGroup(groups[g].prompt, [groups[g].responses[r] for r in rs]) for g, rs in members]
            pack = Pack(parts, device)
            output = reward(pack)
            objectives = [None] * len(output.score) if output.objectives is None else output.objectives.tolist()
            keys = [(prompts[g], responses[g][r]) for g, rs in members for r in rs]
            for (prompt, response), score, values in zip(keys, output.score.tolist(), objectives, strict=True):
                scores[prompt, response] = Score(score, None, values)
                del left[prompt][response]
            progress.advance(len(keys), tokens=pack.input_ids.numel())

    TokenBudget(token_budget).repeat(
        score_left, lambda: [len(ids) for responses in left.values() for ids in responses.values()]
    )
    return [scores[conversation] for conversation in conversations]


def shared_prefix(prompt: NDArray[np.int32], conversations: Sequence[NDArray[np.int32]]) -> PromptGroup:
    """Split conversations behind what they share with their prompt: all of it, with nearly every chat template."""
    shared = min(len(prompt), *map(len, conversations))
    for ids in conversations:
        different = np.flatnonzero(ids[:shared] != prompt[:shared])
        shared = int(different[0]) if len(different) else shared
    return PromptGroup(prompt[:shared], [ids[shared:] for ids in conversations])
