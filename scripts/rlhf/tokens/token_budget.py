"""Work in packs, repeated with smaller packs if a GPU runs out of memory."""

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
    """One of several processes ran out of memory and saved a smaller budget: all of them have to start again."""


class TokenBudget:
    """The largest number of tokens in a pack: as configured, and smaller once memory has run out.

    The size of packs changes results by rounding only, so work can be repeated in smaller packs. A single process does
    so at once. With several, the others wait in a collective operation for the one that ran out, and can no longer
    agree on anything. That one saves the smaller budget, and all start again from the last saved state with the same
    number (`launch` restarts them on one machine, the retry of the job on several).

    Args:
        tokens: as configured.
        remedy: what a user can do if not even the smallest pack fits; a sentence without its full stop.
        saved: file that keeps a smaller budget for the processes that resume this work. It is ignored if it was saved
            for another configured number.
        processes: number of processes that divide the work.
    """

    def __init__(self, tokens: int, remedy: str = REMEDY, saved: Path | None = None, processes: int = 1) -> None:
        self.tokens = self.configured = tokens
        self.remedy, self.saved, self.processes = remedy, saved, processes
        found = json.loads(saved.read_text()) if saved is not None and saved.exists() else None
        if found is not None and found["configured"] == tokens:
            self.tokens = found["token_budget"]
            LOGGER.info("using a token budget of %d: memory ran out with a larger one before", self.tokens)

    def repeat(
        self,
        work: Callable[[int], Result],
        sizes: Callable[[], Sequence[int]],
        undo: Callable[[], None] = lambda: None,
    ) -> Result:
        """Do some work in packs of at most the budget, and repeat it in smaller packs as long as memory runs out.

        Args:
            work: takes the token budget. It may keep what it has finished, and do only the rest when it is repeated.
            sizes: tokens of each smallest possible pack that is left to do, over all processes.
            undo: discards what the interrupted work has left behind.

        Raises:
            StartAgainError: memory ran out in one of several processes.
            UserError: packs cannot be any smaller.
        """
        while True:
            try:
                return work(self.tokens)
            except torch.OutOfMemoryError as error:
                reason = str(error).partition(". ")[0]
            # Not inside the except block: as long as the error exists, its traceback keeps the tensors of the work.
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
                self.saved.unlink(missing_ok=True)  # after the remedy, the configured budget is tried first
            raise UserError(
                f"memory ran out ({reason}), and packs cannot be smaller: the longest has {max(sizes)} tokens, and a "
                f"response with its prompt is never split. {self.remedy}"
            )
        LOGGER.warning(
            "memory ran out (%s): continuing with a token budget of %d instead of %d. Set `token_budget` of this rule "
            "under `hardware` to %d to use it from the start",
            reason,
            smaller,
            self.tokens,
            smaller,
        )
        self.tokens = smaller
        self._save()

    def _save(self) -> None:
        """Several processes may do this at once: each writes the file atomically."""
        if self.saved is None:
            return
        with temporary_beside(self.saved) as temporary:
            temporary.write_text(json.dumps({"configured": self.configured, "token_budget": self.tokens}))
            temporary.replace(self.saved)


def smaller_budget(tokens: int, sizes: Sequence[int], processes: int) -> int | None:
    """Half of what was tried; None if every pack was already as small as possible.

    Args:
        tokens: the budget whose packs did not fit.
        sizes: tokens of each smallest possible pack.
        processes: number of processes that divide them.
    """
    longest = max(sizes)
    if tokens <= longest or len(sizes) <= processes:
        return None
    # No pack was larger than this, see `balanced_packs`: half of a budget far above it would give the same packs again.
    largest = min(tokens, math.ceil(sum(sizes) / processes) + longest)
    return max(longest, largest // 2)


def as_budget(tokens: TokenBudget | int) -> TokenBudget:
    """Make a budget of a number; what it shrinks to is forgotten after the work."""
    return tokens if isinstance(tokens, TokenBudget) else TokenBudget(tokens)


def saved_budgets(folder: Path) -> dict[Path, int]:
    """The smaller budgets that trainings have saved in a folder of saved states."""
    return {file: json.loads(file.read_text())["token_budget"] for file in folder.glob(f"*/{SAVED}")}
