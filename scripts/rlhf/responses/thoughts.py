"""Thoughts of reasoning models: what of a response is visible, and how long that is.

Marks are looked for in the text, not among the token ids: a mark may be a token of its own, or be spelled by several
that merge with what is beside it. (Llama 3's tokenizer ends `</think>` and two line breaks with the token `>\\n\\n`.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rlhf.base.errors import UserError
from rlhf.responses.hiding import HideSettings
from rlhf.tokens.chat import end_of_turn_id
from rlhf.tokens.special_tokens import plain_text_ids, special_tokens, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Visible:
    """What of a response is visible."""

    text: str
    tokens: int
    """Length in tokens, end-of-turn token included."""
    unfinished: bool
    """Whether the response ends in the middle of a thought."""


@dataclass
class VisibleRows:
    """Rows of `VISIBLE_RESPONSES`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    unfinished: int = 0
    """How many of them end in the middle of a thought."""

    @property
    def counts(self) -> dict[str, int]:
        """Counts for the provenance: unfinished thoughts are among what was truncated."""
        truncated = sum(row["finish_reason"] == "length" for row in self.rows)
        return {"responses": len(self.rows), "truncated": truncated, "unfinished_thoughts": self.unfinished}


def visible_text(text: str, hide: HideSettings, *, opened: bool = False) -> tuple[str, bool]:
    """What of a text lies outside of thoughts, and whether it ends inside of one.

    Args:
        opened: whether it begins inside of one.
    """
    outside, *marked = _either(hide.open, hide.close).split(text)
    shown, thinking = [] if opened else [outside], opened
    for mark, behind in zip(marked[::2], marked[1::2], strict=True):
        if mark == hide.open:
            thinking = True
            continue
        if not thinking:
            shown.clear()
        shown.append(behind.lstrip())
        thinking = False
    return "".join(shown), thinking


class Thoughts:
    """Thoughts in the token ids of one tokenizer.

    Raises:
        UserError: a mark has special tokens in it, and is not a special token itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, hide: HideSettings) -> None:
        self._tokenizer, self._hide = tokenizer, hide
        self._specials = special_tokens(tokenizer)
        for name, mark in (("open", hide.open), ("close", hide.close)):
            if self._specials.pattern.search(mark) and mark not in self._specials.ids_by_text:
                raise UserError(
                    f"responses.hide.{name}: it is {mark!r}; a mark is one special token of the tokenizer of "
                    f"{tokenizer.name_or_path!r}, or text without any"
                )
        marks = [mark for mark in (hide.open, hide.close) if mark in self._specials.ids_by_text]
        self._special_marks = {self._specials.ids_by_text[mark]: mark for mark in marks}

    def is_opened(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt ends by opening a thought, but for white space: some chat templates do."""
        return self._opening(prompt_ids) is not None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response without special tokens, but for those that are marks."""
        if not self._special_marks:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
        texts: list[str] = []
        for mark, group in groupby(ids, self._special_marks.get):
            run = list(group)
            texts += [mark] * len(run) if mark else [str(self._tokenizer.decode(run, skip_special_tokens=True))]
        return "".join(texts)

    def visible(self, response_ids: Sequence[int], whole: str, *, opened: bool) -> Visible:
        """What of a response is visible.

        Args:
            response_ids: as sampled, end-of-turn token included.
            whole: their text, see `decode`.
            opened: whether its prompt ends by opening a thought.
        """
        text, unfinished = visible_text(whole, self._hide, opened=opened)
        if text == whole:
            return Visible(text, len(response_ids), unfinished)
        ended = [token for token in self._specials.among(response_ids[-1:]) if token not in self._special_marks]
        return Visible(text, len(token_ids(self._tokenizer, text)) + len(ended), unfinished)

    def are_ids_of(self, response_ids: Sequence[int], text: str, prompt_ids: Sequence[int]) -> bool:
        """Whether token ids that another run has stored are of this tokenizer: whether `text` is what is visible."""
        if max(response_ids, default=0) >= len(self._tokenizer):
            return False
        whole, opened = self.decode(response_ids), self.is_opened(prompt_ids)
        return self.visible(response_ids, whole, opened=opened).text == text

    def encode(self, prompt_ids: Sequence[int], response: str) -> list[int]:
        """Token ids of a complete response as the model would write it: marks that are special tokens are those, all
        other special tokens are plain text, and a thought that the prompt has opened is not opened again.

        Raises:
            UserError: the special tokens in the text cannot be encoded as text.
        """
        opening = self._opening(prompt_ids)
        if opening is not None:
            rest = response.removeprefix(opening)
            response = rest if rest != response else response.removeprefix(self._hide.open)
        marks = {mark: token for token, mark in self._special_marks.items()}
        ids: list[int] = []
        for piece in _either(*marks).split(response) if marks else [response]:
            ids += [marks[piece]] if piece in marks else plain_text_ids(self._tokenizer, piece) if piece else []
        return [*ids, end_of_turn_id(self._tokenizer)]

    def hidden(self, rows: Sequence[Mapping[str, Any]], prompt_ids: Mapping[str, Sequence[int]]) -> VisibleRows:
        """Hide the thoughts of responses.

        Args:
            rows: of `RESPONSES`, their texts as `decode` has them.
            prompt_ids: token ids of the prompts by prompt_id.
        """
        opened = {prompt_id: self.is_opened(ids) for prompt_id, ids in prompt_ids.items()}
        found = VisibleRows()
        for row in rows:
            visible = self.visible(row["response_token_ids"], row["response"], opened=opened[row["prompt_id"]])
            cut = {"finish_reason": "length"} if visible.unfinished else {}
            found.rows.append({**row, "response": visible.text, **cut, "visible_tokens": visible.tokens})
            found.unfinished += visible.unfinished
        return found

    def _opening(self, prompt_ids: Sequence[int]) -> str | None:
        """The mark at the end of a prompt that opens a thought, with the white space behind it."""
        text = str(self._tokenizer.decode(list(prompt_ids), skip_special_tokens=False))
        opens = text.rstrip().endswith(self._hide.open)
        return text[text.rindex(self._hide.open) :] if opens else None


def _either(*marks: str) -> re.Pattern[str]:
    """Matches any of the marks, in one group: `split` keeps them."""
    return re.compile(f"({'|'.join(map(re.escape, marks))})")
