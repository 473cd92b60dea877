"""A row of a dataset as a pair, or why it makes none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlhf.base.artifacts import is_finite_float32
from rlhf.datasets.wrong_values import WrongValues
from rlhf.pairs.imported.columns import IDS, WINS
from rlhf.pairs.imported.responses import MISSING, OTHER_PROMPT, Encoded, Encoder, NoResponseError, read_response
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.prompts.schema import Prompt

DROP_REASONS = (
    MISSING,
    OTHER_PROMPT,
    "no_score",
    "identical",
    "too_long",
    "truncated",
    "tie",
    "reversed",
    "below_margin",
)
"""Why a row makes no pair, in the order of the checks. `missing`: a response is null or white space. `other_prompt`: a
conversation has another prompt than its row. `truncated`: a response ends in the middle of a thought. `reversed`: the
rejected response has the higher score."""


@dataclass
class RowReader:
    """Reads one row at a time, and keeps what cannot be used at all."""

    spec: ImportPairsSpec
    encoder: Encoder
    own: bool
    """Whether the rows have token ids of another run."""
    wrong: WrongValues = field(default_factory=WrongValues)

    def read(
        self, row: int, cells: Mapping[str, Any], prompt: Prompt, prompt_ids: Sequence[int]
    ) -> dict[str, Any] | str:
        """The columns of a pair, or why the row makes none."""
        spec = self.spec
        scores = [self._score(row, name, cells[name]) for name in spec.scores]
        try:
            texts = [self._text(row, name, cells[name], prompt) for name in (spec.chosen, spec.rejected)]
        except NoResponseError as error:
            return str(error)
        if None in scores:
            return "no_score"
        chosen, rejected = self._encoded(texts, cells, prompt_ids)
        reason = self._reason(chosen, rejected) or margin_reason(scores, spec.min_margin)
        return reason or {
            "chosen": chosen.text,
            "rejected": rejected.text,
            "chosen_token_ids": chosen.token_ids,
            "rejected_token_ids": rejected.token_ids,
            "chosen_draw": cells.get("chosen_draw", 0),
            "rejected_draw": cells.get("rejected_draw", 1),
            **rewards_of(scores, cells),
            "encoded_again": int(chosen.encoded_again or rejected.encoded_again),
        }

    def _encoded(self, texts: Sequence[str], cells: Mapping[str, Any], prompt_ids: Sequence[int]) -> list[Encoded]:
        if not self.own:
            return [self.encoder.encode(text, prompt_ids) for text in texts]
        return [self.encoder.stored(cells[name], text, prompt_ids) for name, text in zip(IDS, texts, strict=True)]

    def _reason(self, chosen: Encoded, rejected: Encoded) -> str | None:
        """Why two responses make no pair, whatever their scores."""
        if np.array_equal(chosen.token_ids, rejected.token_ids):
            return "identical"
        if max(len(chosen.token_ids), len(rejected.token_ids)) > self.spec.max_tokens:
            return "too_long"
        return "truncated" if chosen.unfinished or rejected.unfinished else None

    def _text(self, row: int, name: str, value: object, prompt: Prompt) -> str:
        """The text of a response.

        Raises:
            NoResponseError: there is none, or none that can be used.
        """
        try:
            return read_response(value, prompt.messages, self.spec.turns)
        except TypeError as error:
            self.wrong.add(row, name, value, str(error))
            raise NoResponseError(MISSING) from error

    def _score(self, row: int, name: str, value: object) -> float | None:
        if value is not None and not is_finite_float32(value):
            self.wrong.add(row, name, value, "a finite float32 number")
            return None
        return None if value is None else float(value)


def margin_reason(scores: Sequence[float | None], min_margin: float) -> str | None:
    """Why the scores of chosen and rejected make no pair; None if they do, or if there are none."""
    if not scores:
        return None
    margin = float(scores[0] or 0) - float(scores[1] or 0)
    if margin == 0:
        return "tie"
    if margin < 0:
        return "reversed"
    return "below_margin" if margin < min_margin else None


def rewards_of(scores: Sequence[float | None], cells: Mapping[str, Any]) -> dict[str, float | None]:
    """Rewards, and the probability of each response to win against the other: sigmoid of the difference.

    The win probabilities of another run, which are over all its draws, stay as they are.
    """
    chosen, rejected = scores or (None, None)
    win = None if chosen is None or rejected is None else 1 / (1 + math.exp(rejected - chosen))
    return {
        "chosen_reward": chosen,
        "rejected_reward": rejected,
        WINS[0]: cells.get(WINS[0], win),
        WINS[1]: cells.get(WINS[1], None if win is None else 1 - win),
    }
