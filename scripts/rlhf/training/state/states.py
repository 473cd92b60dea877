"""The states from which a killed training goes on: numbered, written atomically, the last two kept.

They lie outside of the outputs that Snakemake knows, because it deletes those before a job starts. A state belongs to
one identity, a digest of settings, inputs and code: another training never goes on from it. The last one stays when a
training has ended, until the workflow uses the checkpoint: a kill before Snakemake has recorded the job, which makes it
run again, then costs one interval of saving and not the training.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from rlhf.base.errors import UserError
from rlhf.base.files.checksums import damaged_file, seal_folder
from rlhf.base.files.folders import remove_folder
from rlhf.base.files.full_disks import named_full_disk
from rlhf.base.settings import canonical_json
from rlhf.machine.choices import Strategy
from rlhf.tokens.token_budget import SAVED
from rlhf.training.state.index import refuse_code

LOGGER = logging.getLogger("train_policy")
logging.getLogger("accelerate").setLevel(logging.WARNING)  # it tells of every file that it saves
PROGRESS = "progress.json"
FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""Environment variable of torch: `torch.load` reads weights and plain values alone, whatever its caller asks for."""


@dataclass(frozen=True)
class Position:
    """Where a training stands after an optimizer step."""

    step: int
    tokens: int
    metrics: list[dict[str, Any]]


class Stopped(SystemExit):
    """The program was asked to end (SIGTERM), and its state is saved."""


def identity_of(provenance: Mapping[str, Any]) -> str:
    """Which training a state belongs to, by settings, inputs, code and library versions: hex digest (16 characters)."""
    return hashlib.sha256(canonical_json(provenance).encode()).hexdigest()[:16]


def state_layout(strategy: Strategy, processes: int) -> str:
    """How a strategy lays out a state: whole, or cut for its processes.

    With `ddp` each process has the whole model, and any number of them goes on from the same state.
    """
    return strategy if strategy in ("single", "ddp") else f"{strategy} with {processes} processes"


def _progress(state: Path) -> dict[str, Any]:
    """What a state says of itself.

    Raises:
        UserError: it says nothing that can be read.
    """
    try:
        found: dict[str, Any] = json.loads((state / PROGRESS).read_text())
        return {"layout": found["layout"], "position": found["position"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(state, error) from error


def _unreadable(state: Path, error: Exception) -> UserError:
    return UserError(
        f"{state}: this saved state cannot be read ({type(error).__name__}: {error}). Delete this folder: training "
        "then goes on from the state before it, or begins again"
    )


def agreed(accelerator: Accelerator, mine: bool) -> bool:
    """Whether any process says so: all must do the same."""
    votes = accelerator.reduce(torch.tensor(float(mine), device=accelerator.device), "sum")
    return bool(votes > 0)


@contextmanager
def _without_code(accelerator: Accelerator) -> Iterator[None]:
    """States are read as weights: a pickle that would run code is an error, also where DeepSpeed reads it."""
    known: list[Any] = []
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        from deepspeed.runtime.fp16.loss_scaler import LossScaler  # type: ignore[import-untyped]
        from deepspeed.runtime.zero.config import ZeroStageEnum  # type: ignore[import-untyped]

        known = [LossScaler, ZeroStageEnum]  # what its states hold beside tensors
    before = os.environ.get(FORCE_WEIGHTS_ONLY)
    os.environ[FORCE_WEIGHTS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals(known):
            yield
    finally:
        if before is None:
            del os.environ[FORCE_WEIGHTS_ONLY]
        else:
            os.environ[FORCE_WEIGHTS_ONLY] = before


class TrainingStates:
    """The saved states of one training, in `folder/<identity>/step-<number>/`.

    Args:
        interval: seconds between two saves.
        layout: how strategy and processes lay out a state; only the same layout reads it.
    """

    def __init__(self, folder: Path, identity: str, interval: float, layout: str) -> None:
        self.root = folder
        self.folder = folder / identity
        self.layout = layout
        self.budget_file = self.folder / SAVED
        self.interval = interval
        self._last_save = time.monotonic()
        self._asked_to_end = False
        signal.signal(signal.SIGTERM, self._on_terminate)

    def resume(self, accelerator: Accelerator) -> Position | None:
        """Load the newest state into what the accelerator has prepared; None where there is none.

        Raises:
            UserError: its files are damaged, or of another layout.
        """
        found = self._saved()
        if not found:
            return None
        newest = found[-1]
        self._refuse_other_layout(newest)
        try:
            self._refuse_damaged(accelerator, newest)
            refuse_code(newest)
            with _without_code(accelerator):
                accelerator.load_state(str(newest))
            position = Position(**_progress(newest)["position"])
        except Exception as error:  # whatever the readers of five kinds of files make of bytes that are not theirs
            raise _unreadable(newest, error) from error
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

    def keep_last(self) -> None:
        """Remove all states but the newest, those of other identities too: the training is done."""
        others = [path for path in sorted(self.root.iterdir()) if path.is_dir() and path != self.folder]
        for old in [*others, *self._half_done(), *self._saved()[:-1]]:
            remove_folder(old)

    def _is_time(self) -> bool:
        return time.monotonic() - self._last_save >= self.interval

    def _save(self, accelerator: Accelerator, position: Position) -> None:
        """Every process writes its part into one temporary folder, which then takes its place.

        The older of two states goes before: a disk needs room for two, the one that is written included.
        """
        name = f"step-{position.step:08d}"
        temporary, whole = self.folder / f".{name}.tmp", self.folder / name
        if accelerator.is_main_process:
            for old in [*self._half_done(), *self._saved()[:-1]]:
                remove_folder(old)
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        try:
            with named_full_disk(self.folder):  # as long as the disk is full: what follows makes room
                accelerator.save_state(str(temporary))
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    (temporary / PROGRESS).write_text(json.dumps({"layout": self.layout, "position": vars(position)}))
                    seal_folder(temporary)
                    temporary.replace(whole)
        except Exception:
            if accelerator.is_main_process:
                remove_folder(temporary)
            raise
        accelerator.wait_for_everyone()  # else a node that is done could end the job before the state is in its place

    def _saved(self) -> list[Path]:
        """Whole states, the oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted(path for path in found if re.fullmatch(r"step-\d+", path.name))

    def _half_done(self) -> list[Path]:
        """What a killed save or removal left."""
        return [path for path in self.folder.glob(".step-*") if path.is_dir()]

    def _refuse_other_layout(self, state: Path) -> None:
        layout = _progress(state)["layout"]
        if layout != self.layout:
            raise UserError(
                f"{state}: this state was saved by {layout}, and this training is set to {self.layout}, which cannot "
                "read it. Set `strategy` and the number of GPUs or processes of train_policy under `hardware` as they "
                f"were to go on from it, or delete {self.root} to begin again"
            )

    def _refuse_damaged(self, accelerator: Accelerator, state: Path) -> None:
        """Raise ValueError, in all processes; one reads the files through."""
        found = damaged_file(state) if accelerator.is_main_process else None
        if agreed(accelerator, found is not None):
            raise ValueError(f"`{found or 'a file'}` is not as it was written")

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True
