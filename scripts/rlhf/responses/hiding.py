"""Settings of what others do not see of a response: the thoughts of reasoning models."""

from __future__ import annotations

from importlib import import_module
from operator import not_
from typing import TYPE_CHECKING

from pydantic import Field, field_validator, model_validator

from rlhf.base.settings import GivenText, Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rlhf.responses.thoughts import Thoughts

THOUGHTS = "rlhf.responses.thoughts"
"""The module that tells thoughts from what is visible."""


class HideSettings(Settings):
    """The marks around the thoughts of a reasoning model, such as `{open: "<think>", close: "</think>"}`.

    They are found in the text, whether a mark is a token of its own, special or not, or several. A response may have
    several thoughts. Where the chat template itself opens the thought, at the end of the prompt, the response begins in
    it. A `close` that ends no thought hides everything before it. White space after `close` belongs to the thought.
    """

    open: GivenText
    """Text before a thought."""
    close: GivenText
    """Text after it. A response that ends before it is truncated, whatever it ends with."""

    @field_validator("open", "close")
    @classmethod
    def _check_ends(cls, mark: str) -> str:
        if mark != mark.strip():
            raise ValueError("must neither begin nor end with white space")
        return mark

    @model_validator(mode="after")
    def _check_together(self) -> HideSettings:
        if self.open in self.close or self.close in self.open:
            raise ValueError(f"`open` ({self.open!r}) and `close` ({self.close!r}) must not contain each other")
        return self


class HidingSettings(Settings):
    """What of a response is not for others to see."""

    hide: HideSettings | None = Field(None, exclude_if=not_)
    """Thoughts that rewards, judges, lengths and the page do not see; training does, because token ids are kept
    complete. A response that ends in the middle of a thought counts as truncated: it is never part of a pair. Null: all
    is visible."""

    @property
    def thought_modules(self) -> tuple[str, ...]:
        """The modules that programs need, and have in their digests, only where there are thoughts to hide."""
        return (THOUGHTS,) if self.hide else ()

    def thoughts(self, tokenizer: PreTrainedTokenizerBase) -> Thoughts | None:
        """What hides the thoughts; None where none are hidden, and then its code is not imported.

        Raises:
            UserError: the marks do not fit the tokenizer.
        """
        found: Thoughts | None = None
        for module in self.thought_modules:
            found = import_module(module).Thoughts(tokenizer, self.hide)
        return found
