"""A row of a dataset as a pair, or why it makes none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf.base.artifacts import is_finite_float32
from rlhf.base.errors import UserError
from rlhf.pairs.imported.columns import IDS, WINS
from rlhf.pairs.imported.responses import MISSING, OTHER_PROMPT, Encoder, NoResponseError, read_response
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.prompts.schema import Prompt

DROP_REASONS = (MISSING, OTHER_PROMPT, "no_score", "identical", "too_long", "tie", "reversed", "below_margin")
"""Why a row makes no pair, in the order of the checks. `missing`: a response is null or white space. `other_prompt`: a
conversation has another prompt than its row. `reversed`: the rejected response has the higher score."""
SHOWN_ROWS = 5


@dataclass
class RowReader:
    """Reads one row at a time, and keeps what cannot be used at all."""

    spec: ImportPairsSpec
    encoder: Encoder
    own: bool
    """Whether the rows have token ids of another run."""
    wrong: list[str] = field(default_factory=list)

    def read(self, row: int, cells: Mapping[str, Any], prompt: Prompt) -> dict[str, Any] | str:
        """The columns of a pair, or why the row makes none."""
        spec = self.spec
        scores = [self._score(row, name, cells[name]) for name in spec.scores]
        try:
            chosen, rejected = (self._text(row, name, cells[name], prompt) for name in (spec.chosen, spec.rejected))
        except NoResponseError as error:
            return str(error)
        if None in scores:
            return "no_score"
        known, (chosen_ids, rejected_ids) = self._token_ids(cells, chosen, rejected)
        if chosen == rejected or (
            chosen_ids is not None and rejected_ids is not None and chosen_ids.tolist() == rejected_ids.tolist()
        ):
            return "identical"
        if chosen_ids is None or rejected_ids is None:
            return "too_long"
        reason = margin_reason(scores, spec.min_margin)
        return reason or {
            "chosen": chosen,
            "rejected": rejected,
            "chosen_token_ids": chosen_ids,
            "rejected_token_ids": rejected_ids,
            "chosen_draw": cells.get("chosen_draw", 0),
            "rejected_draw": cells.get("rejected_draw", 1),
            **rewards_of(scores, cells),
            "encoded_again": int(self.own and not known),
        }

    def refuse_wrong(self) -> None:
        """Raise UserError if values cannot be used; names the first ones."""
        if self.wrong:
            raise UserError(
                f"{self.spec.dataset}: {len(self.wrong)} values cannot be used:\n  "
                + "\n  ".join(self.wrong[:SHOWN_ROWS])
                + "\nFix these rows; use null for a missing response or score."
            )

    def _text(self, row: int, name: str, value: object, prompt: Prompt) -> str:
        """The text of a response.

        Raises:
            NoResponseError: there is none, or none that can be used.
        """
        try:
            text = read_response(value, prompt.messages, self.spec.turns)
        except TypeError as error:
            self._complain(row, name, value, str(error))
            raise NoResponseError(MISSING) from error
        return text if self.own else self.encoder.as_rendered(text)

    def _score(self, row: int, name: str, value: object) -> float | None:
        if value is not None and not is_finite_float32(value):
            self._complain(row, name, value, "a finite float32 number")
            return None
        return None if value is None else float(value)

    def _token_ids(self, cells: Mapping[str, Any], *texts: str) -> tuple[bool, list[Any]]:
        """Whether both are the ids of another run, and the ids of both."""
        if not self.own:
            return False, [self.encoder.encode(text) for text in texts]
        stored = [self.encoder.stored(cells[name], text) for name, text in zip(IDS, texts, strict=True)]
        return all(known for known, _ in stored), [ids for _, ids in stored]

    def _complain(self, row: int, name: str, value: object, wanted: str) -> None:
        self.wrong.append(f"row {row}, column {name!r}: {value!r:.40} is not {wanted}")


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
