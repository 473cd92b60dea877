"""The states from which a killed training goes on: numbered, written atomically, the last two kept.

They lie outside of the outputs that Snakemake knows, because it deletes those before a job starts. A state belongs to
one identity, a digest of settings, inputs and code: another training never goes on from it.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from rlhf.errors import UserError
from rlhf.token_budget import SAVED

LOGGER = logging.getLogger("train_policy")
logging.getLogger("accelerate").setLevel(logging.WARNING)  # it tells of every file that it saves
KEPT = 2
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Position:
    """Where a training stands after an optimizer step."""

    step: int
    tokens: int
    metrics: list[dict[str, Any]]


class Stopped(SystemExit):
    """The program was asked to end (SIGTERM), and its state is saved."""


def agreed(accelerator: Accelerator, mine: bool) -> bool:
    """Whether any process says so: all must do the same."""
    votes = accelerator.reduce(torch.tensor(float(mine), device=accelerator.device), "sum")
    return bool(votes > 0)


class TrainingStates:
    """The saved states of one training, in `folder/<identity>/step-<number>/`.

    Args:
        interval: seconds between two saves.
    """

    def __init__(self, folder: Path, identity: str, interval: float) -> None:
        self.root = folder
        self.folder = folder / identity
        self.budget_file = self.folder / SAVED
        self.interval = interval
        self._last_save = time.monotonic()
        self._asked_to_end = False
        signal.signal(signal.SIGTERM, self._on_terminate)

    def resume(self, accelerator: Accelerator) -> Position | None:
        """Load the newest state into what the accelerator has prepared; None where there is none.

        Raises:
            UserError: its files are damaged.
        """
        found = self._saved()
        if not found:
            return None
        try:
            accelerator.load_state(str(found[-1]))
            position = Position(**json.loads((found[-1] / PROGRESS).read_text()))
        except Exception as error:  # whatever the readers of five kinds of files make of bytes that are not theirs
            raise UserError(
                f"{found[-1]}: this saved state cannot be read ({type(error).__name__}: {error}). Delete this folder: "
                "training then goes on from the state before it, or begins again"
            ) from error
        LOGGER.info("going on from the saved state after step %d", position.step)
        return position

    def after_step(self, accelerator: Accelerator, position: Position) -> None:
        """Save the state where it is time to, or where the program was asked to end.

        Raises:
            Stopped: it was asked to end.
        """
        if not agreed(accelerator, self._asked_to_end or self._is_time()):
            return
        self._save(accelerator, position)
        self._last_save = time.monotonic()
        if agreed(accelerator, self._asked_to_end):  # before the save, or while it was written
            LOGGER.warning("asked to end: the state after step %d is saved, run the same command again", position.step)
            raise Stopped(128 + signal.SIGTERM)

    def delete(self) -> None:
        """Remove all states, of other identities too: the training is done."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _is_time(self) -> bool:
        return time.monotonic() - self._last_save >= self.interval

    def _save(self, accelerator: Accelerator, position: Position) -> None:
        """Every process writes its part into one temporary folder, which then takes its place."""
        name = f"step-{position.step:08d}"
        temporary, whole = self.folder / f".{name}.tmp", self.folder / name
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (temporary / PROGRESS).write_text(json.dumps(vars(position)))
            temporary.replace(whole)
            for old in self._saved()[:-KEPT]:
                shutil.rmtree(old)
        accelerator.wait_for_everyone()  # else a node that is done could end the job before the state is in its place

    def _saved(self) -> list[Path]:
        """Whole states, the oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted(path for path in found if re.fullmatch(r"step-\d+", path.name))

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True
