"""The states from which a killed training resumes: numbered, written atomically, the last two kept.

They are not among the outputs that Snakemake knows, because it deletes those before a job starts. A state belongs to
one identity, a digest of settings, inputs and code: no other training resumes from it. The last one is kept after the
training, until the workflow uses the checkpoint: if Snakemake is killed before it has recorded the job, the job runs
again, and that costs one interval between saves instead of the whole training.
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
from rlhf.training.state.index import enum_member, refuse_code

LOGGER = logging.getLogger("train_policy")
logging.getLogger("accelerate").setLevel(logging.WARNING)  # it logs every file that it saves
PROGRESS = "progress.json"
FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""Environment variable of torch: `torch.load` reads only weights and plain values, whatever its caller asks for."""


@dataclass(frozen=True)
class Position:
    """How far a training is after an optimizer step."""

    step: int
    tokens: int
    metrics: list[dict[str, Any]]


class Stopped(SystemExit):
    """The program was asked to end (SIGTERM), and its state is saved."""


def identity_of(provenance: Mapping[str, Any]) -> str:
    """Which training a state belongs to, by settings, inputs, code and library versions: hex digest (16 characters)."""
    return hashlib.sha256(canonical_json(provenance).encode()).hexdigest()[:16]


def state_layout(strategy: Strategy, processes: int) -> str:
    """How the files of a state are laid out: unsharded, or sharded over a number of processes.

    With `ddp` every process has the full model, so any number of processes can resume from the same state.
    """
    return strategy if strategy in ("single", "ddp") else f"{strategy} with {processes} processes"


def _progress(state: Path) -> dict[str, Any]:
    """Layout and position of a state.

    Raises:
        UserError: its file cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((state / PROGRESS).read_text())
        return {"layout": found["layout"], "position": found["position"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(state, error) from error


def _unreadable(state: Path, error: Exception) -> UserError:
    return UserError(
        f"{state}: this saved state cannot be read ({type(error).__name__}: {error}). Delete this folder: training "
        "then resumes from the state before it, or starts from the beginning"
    )


def true_in_any_process(accelerator: Accelerator, mine: bool) -> bool:
    """Whether the condition holds in any process; the same answer in all of them."""
    votes = accelerator.reduce(torch.tensor(float(mine), device=accelerator.device), "sum")
    return bool(votes > 0)


@contextmanager
def _without_code(accelerator: Accelerator) -> Iterator[None]:
    """Within, only weights are unpickled: a pickle that would run code is an error, also when DeepSpeed reads it."""
    known: list[Any] = []
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        from deepspeed.runtime.fp16.loss_scaler import LossScaler  # type: ignore[import-untyped]
        from deepspeed.runtime.zero.config import ZeroStageEnum  # type: ignore[import-untyped]

        # What its states contain in addition to tensors.
        known = [LossScaler, ZeroStageEnum, (enum_member, "builtins.getattr")]
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
        interval: seconds between saves.
        layout: see `state_layout`; a state can only be read with the same layout.
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
        """Load the newest state into what the accelerator has prepared; None if there is no state.

        Raises:
            UserError: the state is damaged, or has another layout.
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
        except Exception as error:  # five file formats are read, and each reader fails on bad bytes in its own way
            raise _unreadable(newest, error) from error
        LOGGER.info("resuming from the saved state after step %d", position.step)
        return position

    def after_step(self, accelerator: Accelerator, position: Position) -> None:
        """Save the state if it is time to, or if the program was asked to end.

        Raises:
            Stopped: the program was asked to end.
        """
        if not true_in_any_process(accelerator, self._asked_to_end or self._is_time()):
            return
        self._save(accelerator, position)
        self._last_save = time.monotonic()
        if true_in_any_process(accelerator, self._asked_to_end):  # before the save, or during it
            LOGGER.warning("asked to end: the state after step %d is saved, run the same command again", position.step)
            raise Stopped(128 + signal.SIGTERM)

    def keep_last(self) -> None:
        """Remove all states but the newest, including those of other identities: the training is done."""
        others = [path for path in sorted(self.root.iterdir()) if path.is_dir() and path != self.folder]
        for old in [*others, *self._incomplete(), *self._saved()[:-1]]:
            remove_folder(old)

    def _is_time(self) -> bool:
        return time.monotonic() - self._last_save >= self.interval

    def _save(self, accelerator: Accelerator, position: Position) -> None:
        """Every process writes its part to one temporary folder, which is renamed when it is complete.

        The older of two states is removed first: the disk needs room for two, including the one that is written.
        """
        name = f"step-{position.step:08d}"
        temporary, complete = self.folder / f".{name}.tmp", self.folder / name
        if accelerator.is_main_process:
            for old in [*self._incomplete(), *self._saved()[:-1]]:
                remove_folder(old)
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        try:
            with named_full_disk(self.folder):  # inside the `try`, while the disk is still full: the cleanup makes room
                accelerator.save_state(str(temporary))
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    (temporary / PROGRESS).write_text(json.dumps({"layout": self.layout, "position": vars(position)}))
                    seal_folder(temporary)
                    temporary.replace(complete)
        except Exception:
            if accelerator.is_main_process:
                remove_folder(temporary)
            raise
        accelerator.wait_for_everyone()  # otherwise a node that is done could end the job before the state is renamed

    def _saved(self) -> list[Path]:
        """Complete states, the oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted(path for path in found if re.fullmatch(r"step-\d+", path.name))

    def _incomplete(self) -> list[Path]:
        """What a killed save or removal left behind."""
        return [path for path in self.folder.glob(".step-*") if path.is_dir()]

    def _refuse_other_layout(self, state: Path) -> None:
        layout = _progress(state)["layout"]
        if layout != self.layout:
            raise UserError(
                f"{state}: this state was saved by {layout}, and this training is set to {self.layout}, which cannot "
                "read it. To resume, set `strategy` and the number of GPUs or processes of train_policy under "
                f"`hardware` as they were; to start over, delete {self.root}"
            )

    def _refuse_damaged(self, accelerator: Accelerator, state: Path) -> None:
        """Raise ValueError in all processes if a file is damaged; the main process reads them all."""
        found = damaged_file(state) if accelerator.is_main_process else None
        if true_in_any_process(accelerator, found is not None):
            raise ValueError(f"`{found or 'a file'}` is not as it was written")

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True
