"""Scoring with a reward model, in packs: a prompt is computed once for all its responses, and nothing is truncated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf.datasets.conversations import Messages
from rlhf.machine.progress import Progress
from rlhf.rewards.schema import TOO_LONG
from rlhf.rewards.scorer import Conversation, Score
from rlhf.tokens.chat import encode_messages
from rlhf.tokens.packing import Pack, PromptGroup, pack_budget, pack_groups
from rlhf.tokens.token_budget import TokenBudget

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PackScores(NamedTuple):
    """Scores of the responses in a pack, float32, in their order."""

    values: torch.Tensor
    """(responses,)."""
    objectives: torch.Tensor | None = None
    """(responses, objectives), if the model has objectives."""


class RewardModel(Protocol):
    """A reward model as a function of packs."""

    longest: int
    """Longest conversation that the model accepts, in tokens."""
    objective_names: tuple[str, ...]

    def __call__(self, pack: Pack) -> PackScores: ...


@torch.inference_mode()
def score_conversations(
    score_pack: Callable[[Pack], PackScores],
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    max_tokens: int,
    token_budget: int,
    progress: Progress,
) -> list[Score]:
    """Score conversations. Those with equal texts are scored once, so their scores are exactly equal.

    Args:
        score_pack: the reward model.
        max_tokens: a longer conversation is not truncated; it has no score (`too_long`).
        token_budget: tokens per forward pass; reduced when memory runs out.
        progress: counts distinct conversations.

    Returns:
        One score per conversation, in order.
    """
    table = _ScoreTable(tokenizer, conversations, max_tokens)
    progress.advance(len(table.scores))

    def score_rest(tokens: int) -> None:
        keys, groups = table.unscored_groups()
        for members in pack_groups(groups, pack_budget(tokens, device)):
            parts = [PromptGroup(groups[g].prompt, [groups[g].responses[r] for r in rs]) for g, rs in members]
            pack = Pack(parts, device)
            scored = [keys[g][r] for g, rs in members for r in rs]
            table.enter(scored, score_pack(pack))
            progress.advance(len(scored), tokens=pack.input_ids.numel())

    TokenBudget(token_budget).repeat(score_rest, table.unscored_lengths)
    return [table.scores[_texts(conversation)] for conversation in conversations]


Texts = tuple[Messages, str]
"""All that a model reads of a conversation: the prompt, and the response."""


def _texts(conversation: Conversation) -> Texts:
    return conversation.messages, conversation.response


class _ScoreTable:
    """The distinct conversations: the scores so far, and the token ids of what is still to be scored."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], max_tokens: int
    ) -> None:
        self.scores: dict[Texts, Score] = {}
        self._tokenizer = tokenizer
        self._unscored: dict[Messages, dict[str, NDArray[np.int32]]] = {}  # by prompt and response
        for prompt, response in dict.fromkeys(map(_texts, conversations)):
            ids = encode_messages(tokenizer, (*prompt, ("assistant", response)))
            if len(ids) > max_tokens:
                self.scores[prompt, response] = Score(None, TOO_LONG)
            else:  # a list takes nine times the memory
                self._unscored.setdefault(prompt, {})[response] = np.array(ids, np.int32)

    def unscored_lengths(self) -> list[int]:
        """Tokens of each conversation without a score."""
        return [len(ids) for responses in self._unscored.values() for ids in responses.values()]

    def unscored_groups(self) -> tuple[list[list[Texts]], list[PromptGroup]]:
        """The conversations without a score, by prompt, and their token ids."""
        keys, groups = [], []
        for prompt, responses in self._unscored.items():
            if responses:
                head = np.array(encode_messages(self._tokenizer, prompt), np.int32)
                keys.append([(prompt, response) for response in responses])
                groups.append(shared_prefix(head, list(responses.values())))
        return keys, groups

    def enter(self, conversations: Sequence[Texts], found: PackScores) -> None:
        """Keep the scores of these conversations."""
        objectives = [None] * len(found.values) if found.objectives is None else found.objectives.tolist()
        for conversation, value, of_objectives in zip(conversations, found.values.tolist(), objectives, strict=True):
            self.scores[conversation] = Score(value, None, of_objectives)
            prompt, response = conversation
            del self._unscored[prompt][response]


def shared_prefix(prompt: NDArray[np.int32], conversations: Sequence[NDArray[np.int32]]) -> PromptGroup:
    """Split conversations after the prefix that they share with their prompt: with nearly every template all of it."""
    shared = min(len(prompt), *map(len, conversations))
    for ids in conversations:
        different = np.flatnonzero(ids[:shared] != prompt[:shared])
        shared = int(different[0]) if len(different) else shared
    return PromptGroup(prompt[:shared], [ids[shared:] for ids in conversations])
