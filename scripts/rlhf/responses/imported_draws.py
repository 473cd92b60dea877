"""What is imported: the draws of each prompt. And those of another run of the pipeline, read from its artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

OWN_RESPONSES = ("prompt_id", "draw", "response", "response_token_ids", "finish_reason")
"""Columns that say that the pipeline made these responses."""
OWN_REWARDS = ("prompt_id", "draw", "reward", "invalid")
"""Columns that say that the pipeline made these rewards."""


@dataclass(frozen=True)
class ImportedDraw:
    """A response in the dataset."""

    draw: int
    """Number of its column, or of earlier rows with the same prompt; of another run's, the draw there."""
    response: str
    """Empty if only rewards were read."""
    reward: float | None
    """None if the dataset has no reward for it, or rewards were not read."""
    token_ids: list[int] | None = None
    """Of another run's response: the tokens that were sampled."""
    truncated: bool = False
    """Whether another run's response was."""
    invalid: str | None = None
    """Why another run's response has no reward."""


@dataclass
class Imported:
    """The draws of each prompt, in the order of the prompts, and counts of what was left out."""

    draws: list[list[ImportedDraw]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=lambda: Counter(missing=0, beyond_draws=0))
    """`missing`: null or whitespace. `beyond_draws`: rows of a prompt beyond `responses.draws`. `duplicate_rows`:
    further rows with the same prompt, in wide form. `encoded_again`: responses of another run whose token ids are not
    of the policy's tokenizer."""


def is_own(there: Sequence[str], *, rewards: bool) -> bool:
    """Whether the pipeline itself made the responses, or rewards, with these columns."""
    return set(OWN_REWARDS if rewards else OWN_RESPONSES) <= set(there)


def read_own(dataset: Dataset, matched: Sequence[Sequence[int]], draws: int, *, rewards: bool) -> Imported:
    """The draws of another run, as they are.

    Args:
        matched: the rows of each prompt.
        draws: the most per prompt; those with a higher number are left out.
    """
    columns = dataset.select_columns(list(OWN_REWARDS if rewards else OWN_RESPONSES))
    taken = columns[[row for rows in matched for row in rows]]
    found, at = Imported(), 0
    found.counts.update(duplicate_rows=0, encoded_again=0)
    for rows in matched:
        cells = [{name: values[at + number] for name, values in taken.items()} for number in range(len(rows))]
        kept = sorted((cell for cell in cells if cell["draw"] < draws), key=lambda cell: cell["draw"])
        found.counts["beyond_draws"] += len(cells) - len(kept)
        found.draws.append([_own_draw(cell) for cell in kept])
        at += len(rows)
    return found


def _own_draw(cell: dict[str, Any]) -> ImportedDraw:
    return ImportedDraw(
        cell["draw"],
        cell.get("response", ""),
        cell.get("reward"),
        token_ids=cell.get("response_token_ids"),
        truncated=cell.get("finish_reason") == "length",
        invalid=cell.get("invalid"),
    )
