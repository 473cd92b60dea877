"""Work in packs, repeated with smaller packs where a GPU's memory runs out."""

from __future__ import annotations

import gc
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from rlhf.base.errors import UserError
from rlhf.base.files.temporary_files import temporary_beside

Result = TypeVar("Result")
LOGGER = logging.getLogger(__name__)
REMEDY = "Take a GPU with more memory, or lower `max_tokens` of prompts or responses"
SAVED = "token_budget.json"


class StartAgainError(Exception):
    """One of several processes ran out of memory, and the smaller budget is saved: all of them have to start again."""


class TokenBudget:
    """Tokens of one pack: as configured, until memory runs out, and from then on fewer.

    A pack's size changes a result by rounding alone, so the work can be repeated with smaller ones. One process does so
    at once. Of several, one that runs out leaves the others in a collective operation that it never joins: they cannot
    agree on anything any more. It saves the smaller budget, and all start again from the last saved state (`launch`
    starts them on one machine; the job's retry does on several), so that they read the same number.

    Args:
        tokens: as configured.
        remedy: what a user can do where not even the smallest pack fits; a sentence without its full stop.
        saved: file that keeps a smaller budget for the processes that go on with this work. One that was found for
            another configured number does not count.
        processes: that share the work.
    """

    def __init__(self, tokens: int, remedy: str = REMEDY, saved: Path | None = None, processes: int = 1) -> None:
        self.tokens = self.configured = tokens
        self.remedy, self.saved, self.processes = remedy, saved, processes
        found = json.loads(saved.read_text()) if saved is not None and saved.exists() else None
        if found is not None and found["configured"] == tokens:
            self.tokens = found["token_budget"]
            LOGGER.info("going on with a token budget of %d: memory ran out with a larger one", self.tokens)

    def repeat(
        self,
        work: Callable[[int], Result],
        sizes: Callable[[], Sequence[int]],
        undo: Callable[[], None] = lambda: None,
    ) -> Result:
        """Do some work in packs of the budget, and again in smaller ones while memory runs out.

        Args:
            work: takes the tokens of a pack. It may keep what it has finished, and do the rest when it is repeated.
            sizes: tokens of each smallest possible pack that is left to do, as all processes share it.
            undo: drops what half-done work has left behind.

        Raises:
            StartAgainError: this is one of several processes.
            UserError: no pack can be smaller.
        """
        while True:
            try:
                return work(self.tokens)
            except torch.OutOfMemoryError as error:
                reason = str(error).partition(". ")[0]
            # Not within the except block: as long as the error lives, its traceback keeps the tensors of the work.
            undo()
            gc.collect()
            torch.cuda.empty_cache()
            self._shrink(sizes(), reason)
            if self.processes > 1:
                raise StartAgainError

    def _shrink(self, sizes: Sequence[int], reason: str) -> None:
        smaller = smaller_budget(self.tokens, sizes, self.processes)
        if smaller is None:
            if self.saved is not None:
                self.saved.unlink(missing_ok=True)  # who heeds the remedy begins with the configured budget
            raise UserError(
                f"memory ran out ({reason}), and packs cannot be smaller: the longest holds {max(sizes)} tokens, and a "
                f"response with its prompt is never cut. {self.remedy}"
            )
        LOGGER.warning(
            "memory ran out (%s): going on with a token budget of %d in place of %d. Set `token_budget` of this rule "
            "under `hardware` to %d to have it from the start",
            reason,
            smaller,
            self.tokens,
            smaller,
        )
        self.tokens = smaller
        self._save()

    def _save(self) -> None:
        """Several processes may do this at once, and each writes a whole file."""
        if self.saved is None:
            return
        with temporary_beside(self.saved) as temporary:
            temporary.write_text(json.dumps({"configured": self.configured, "token_budget": self.tokens}))
            temporary.replace(self.saved)


def smaller_budget(tokens: int, sizes: Sequence[int], processes: int) -> int | None:
    """Half of what was tried; None where every pack was as small as it can be.

    Args:
        tokens: the budget whose packs did not fit.
        sizes: tokens of each smallest possible pack.
        processes: that share them.
    """
    longest = max(sizes)
    if tokens <= longest or len(sizes) <= processes:
        return None
    # No pack was larger, see `balanced_packs`: half of a budget far above it would cut the same packs once more.
    largest = min(tokens, math.ceil(sum(sizes) / processes) + longest)
    return max(longest, largest // 2)


def as_budget(tokens: TokenBudget | int) -> TokenBudget:
    """A number is a budget of its own: what it shrinks to is forgotten after the work."""
    return tokens if isinstance(tokens, TokenBudget) else TokenBudget(tokens)


def saved_budgets(folder: Path) -> dict[Path, int]:
    """The smaller budgets that the trainings of a folder of saved states have come to."""
    return {file: json.loads(file.read_text())["token_budget"] for file in folder.glob(f"*/{SAVED}")}
