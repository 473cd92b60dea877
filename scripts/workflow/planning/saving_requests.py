"""The grace period and the disk space that a training needs to save its state."""

from __future__ import annotations

from rlhf.base.errors import UserError
from rlhf.base.names import variant_and_iteration
from rlhf.machine.model_shapes import ModelShape
from rlhf.machine.saving import DEFAULT_STOP_SECONDS, stop_seconds, training_disk_mb
from rlhf.machine.throughput import step_seconds
from workflow.experiment import Experiment
from workflow.hardware import TrainingHardware
from workflow.planning.memory_check import largest_prompt, policy_shape, training_setup


def with_stop_seconds(experiment: Experiment, training: TrainingHardware) -> TrainingHardware:
    """The hardware of a training, with `stop_seconds` computed if it is null.

    Raises:
        UserError: the result is not less than the runtime.
    """
    if training.stop_seconds is not None:
        return training
    needed = _needed_seconds(experiment, training)
    if needed >= 60 * training.runtime:
        raise UserError(
            f"hardware.train_policy.runtime: it is {training.runtime} minute(s), and to end a step and save its state "
            f"the training needs {needed} seconds of it ({_why(experiment)}). Allowed: {needed // 60 + 1} and more; or "
            "set `stop_seconds` yourself, to less than the runtime"
        )
    return training.model_copy(update={"stop_seconds": needed})


def disk_mb(experiment: Experiment, training: TrainingHardware, policy: str) -> int:
    """Megabytes of disk for the saved states and the checkpoint of a policy; the model's shape must be known."""
    shape = policy_shape(experiment)
    assert shape is not None
    return training_disk_mb(shape, training_setup(experiment, variant_and_iteration(policy)[0], training))


def _needed_seconds(experiment: Experiment, training: TrainingHardware) -> int:
    """The maximum over all variants."""
    shape = policy_shape(experiment)
    if shape is None:
        return DEFAULT_STOP_SECONDS
    found = [_variant_seconds(experiment, shape, variant, training) for variant in experiment.trained]
    # The rate of a CPU is not known, and so not how long its steps take.
    return max(found if training.gpu else [*found, DEFAULT_STOP_SECONDS])


def _variant_seconds(experiment: Experiment, shape: ModelShape, variant: str, training: TrainingHardware) -> int:
    """All pairs are assumed to have the maximum length."""
    setup = training_setup(experiment, variant, training)
    if not training.gpu:
        return stop_seconds(shape, setup, step=0)
    prompts, longest = experiment.prompts, largest_prompt(experiment)
    tokens = experiment.recipe(variant).batch_size * longest
    validation = min(prompts.test, prompts.part_size) * longest
    return stop_seconds(shape, setup, step_seconds(shape, setup, tokens, validation, experiment.hardware.gpu_tflops))


def _why(experiment: Experiment) -> str:
    if policy_shape(experiment) is None:
        return f"a guess: the size of {experiment.base_model.name} is not known yet"
    return f"by the size of {experiment.base_model.name}"
