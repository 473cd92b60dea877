"""Optional experiment trackers, which get the metrics in addition to `training.parquet`."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from rlhf.base.errors import UserError
from rlhf.machine.choices import Tracker
from rlhf.training.settings import TrainSpec


def check_tracker(tracker: Tracker) -> None:
    """Raise UserError if the tracker's package is not installed: accelerate would silently go on without it."""
    if tracker not in ("none", *map(str, get_available_trackers())):
        raise UserError(f"tracker {tracker}: its package is not installed in this environment; pip install {tracker}")


def start_tracking(accelerator: Accelerator, tracker: Tracker, experiment: str, spec: TrainSpec) -> None:
    """Start a run: TensorBoard writes beside the checkpoint, other trackers to a project named after the experiment."""
    if tracker == "tensorboard":
        accelerator.init_trackers("tensorboard")
    elif tracker != "none":
        accelerator.init_trackers(experiment, spec.model_dump(), {tracker: {"name": spec.policy}})
