"""Conversations as token ids, and batches padded to their own longest conversation."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf.tiny.corpus import Style, compose
from rlhf.tiny.language.tasks import Task
from rlhf.tokens.chat import encode_prompt

WINDOW = 16
"""Batches whose conversations are sorted by length together, so that little padding is needed."""


@dataclass(frozen=True)
class Conversation:
    """A task and a response to it."""

    task: Task
    response: str
    token_ids: list[int]
    """Prompt with the assistant's header, response, end-of-turn token."""
    prompt_length: int
    """Tokens of the prompt, the assistant's header included."""


class Encoder:
    """Turns tasks and responses into conversations; keeps the prompts that it has seen."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._prompts: dict[str, list[int]] = {}

    def encode(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Conversation]:
        """Conversations of tasks and responses, rendered by the chat template."""
        encoded = self.tokenizer(list(responses), add_special_tokens=False)["input_ids"] if responses else []
        end = [self.tokenizer.eos_token_id]
        return [
            Conversation(task, response, self.prompt(task) + ids + end, len(self.prompt(task)))
            for task, response, ids in zip(tasks, responses, encoded, strict=True)
        ]

    def prompt(self, task: Task) -> list[int]:
        """Token ids of the task's instruction with the assistant's header."""
        if task.prompt not in self._prompts:
            self._prompts[task.prompt] = encode_prompt(self.tokenizer, task.prompt)
        return self._prompts[task.prompt]


def evenly(tasks: Sequence[Task], count: int, rng: random.Random) -> list[Task]:
    """`count` random tasks, balanced over the families to within one."""
    families: dict[str, list[Task]] = {}
    for task in tasks:
        families.setdefault(task.family, []).append(task)
    names = sorted(families)
    chosen = [rng.choice(families[names[index % len(names)]]) for index in range(count)]
    rng.shuffle(chosen)
    return chosen


def converse(encoder: Encoder, tasks: Sequence[Task], style: Style, rng: random.Random) -> list[Conversation]:
    """One conversation per task, with a response in the given style."""
    return encoder.encode(tasks, [compose(task, style, rng) for task in tasks])


def batches(conversations: Sequence[Conversation], batch_size: int, rng: random.Random) -> Iterator[list[Conversation]]:
    """Batches of similar length in random order; an incomplete last batch is dropped."""
    window = batch_size * WINDOW
    for start in range(0, len(conversations), window):
        near = sorted(conversations[start : start + window], key=lambda conversation: len(conversation.token_ids))
        found = [near[i : i + batch_size] for i in range(0, len(near) - batch_size + 1, batch_size)]
        rng.shuffle(found)
        yield from found


def padded(conversations: Sequence[Conversation]) -> tuple[Tensor, Tensor]:
    """Token ids (batch, longest), zeros on the right, and the lengths (batch,)."""
    lengths = torch.tensor([len(conversation.token_ids) for conversation in conversations])
    token_ids = torch.zeros(len(conversations), int(lengths.max()), dtype=torch.long)
    for row, conversation in zip(token_ids, conversations, strict=True):
        row[: len(conversation.token_ids)] = torch.tensor(conversation.token_ids)
    return token_ids, lengths
