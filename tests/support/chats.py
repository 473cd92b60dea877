"""Prompts of one turn with a response, in the forms that the library takes."""

from collections.abc import Iterable

from rlhf.datasets.conversations import Messages
from rlhf.rewards.scorer import Conversation


def turns(texts: tuple[str, str]) -> Messages:
    """A prompt and its response as a whole conversation."""
    return (("user", texts[0]), ("assistant", texts[1]))


def conversations(texts: Iterable[tuple[str, str]]) -> list[Conversation]:
    """Prompts and responses as scorers get them."""
    return [Conversation((("user", prompt),), response) for prompt, response in texts]
