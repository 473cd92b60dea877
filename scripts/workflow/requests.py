"""What each rule asks of a machine or a scheduler: its `resources` in Snakemake's sense, which reruns nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rlhf.base.errors import UserError
from rlhf.base.source_digest import SCRIPTS
from workflow.experiment import Experiment
from workflow.hardware import BatchedHardware, TrainingHardware
from workflow.paths import Paths
from workflow.planning.cpu_memory import job_mb
from workflow.planning.memory_check import check_memory, policy_shape
from workflow.planning.saving_requests import disk_mb, with_stop_seconds


@dataclass(frozen=True)
class Requests:
    """The requests of one experiment's rules."""

    experiment: Experiment
    training: TrainingHardware
    """Of `train_policy`, with what a profile changes of it, and its `stop_seconds`."""
    profile_gpus: Mapping[str, int]
    """GPUs that a profile gives to rules, in place of the experiment's."""

    @classmethod
    def of(cls, experiment: Experiment, profile_gpus: Mapping[str, int]) -> Requests:
        """The requests of an experiment.

        Raises:
            UserError: a profile's GPUs do not suit the training, or a stage cannot fit its GPUs.
        """
        section = experiment.hardware.train_policy
        training = with_stop_seconds(experiment, _with_gpus(section, profile_gpus.get("train_policy", section.gpu)))
        check_memory(experiment, training)
        return cls(experiment, training, profile_gpus)

    def program(self) -> dict[str, str]:
        """What every rule has: the folder of its program, and the file of commits for what comes from the hub."""
        return {"scripts": str(SCRIPTS), "revisions": Paths(self.experiment).revisions}

    def cpu(self, rule: str) -> dict[str, Any]:
        """The request of a job without a GPU."""
        section = getattr(self.experiment.hardware, rule)
        return {
            **self.program(),
            "mem_mb": growing(job_mb(self.experiment, rule)),
            "runtime": growing(section.runtime),
        }

    def tiny(self) -> dict[str, Any]:
        """The request of the jobs that make the tiny world."""
        return {"compute_threads": self.experiment.hardware.tiny.threads, **self.cpu("tiny")}

    def gpu(self, rule: str) -> dict[str, Any]:
        """The request of a job that computes with a model, on one node.

        Snakemake may shrink `gpu`, and `threads` with --cores: `gpu_request` and `compute_threads` are what was asked.
        """
        section: BatchedHardware = getattr(self.experiment.hardware, rule)
        return {
            **self.program(),
            **slurm_request(nodes=1),
            "gpu": section.gpu,
            "gpu_request": self.profile_gpus.get(rule, section.gpu),
            "compute_threads": section.threads,
            "token_budget": section.token_budget,
            "mem_mb": growing(section.mem_mb),
            "runtime": growing(section.runtime),
        }

    def train_policy(self) -> dict[str, Any]:
        """The request of a training."""
        section = self.training
        return {
            **self.gpu("train_policy"),
            **training_slurm_request(section),
            **self._disk(),
            "processes": section.process_count,
            "strategy": section.sharing,
            "activations": section.activations,
            "tracker": section.tracker,
            "save_seconds": section.save_seconds,
            "stop_seconds": section.stop_seconds,
            # No more at a retry: it goes on from the saved state, and whole nodes have no more to give.
            "mem_mb": section.mem_mb,
        }

    def _disk(self) -> dict[str, Callable[..., int]]:
        """What a training asks for as its disk; where its model's size is not known, what a profile asks for every job.

        Its states lie beside the results, on the disk of the project.
        """
        if policy_shape(self.experiment) is None:
            return {}
        return {"disk_mb": lambda wildcards: disk_mb(self.experiment, self.training, wildcards.policy)}


def growing(amount: int) -> Callable[..., int]:
    """A resource that is twice the amount at the first retry, and three times at the second."""
    return lambda wildcards, attempt: amount * attempt


def slurm_request(nodes: int) -> dict[str, Any]:
    """The number of nodes and one task on each, for Slurm.

    Left to itself, Snakemake's plugin asks for a task per GPU, each with all CPUs of the job, on any number of nodes.
    It takes a job on several nodes for one of MPI, and leaves `srun` to the program.
    """
    several = {"tasks": nodes, "mpi": "srun"} if nodes > 1 else {}
    return {"nodes": nodes, "tasks_per_gpu": 0, **several}


def training_slurm_request(hardware: TrainingHardware) -> dict[str, Any]:
    """As `slurm_request`, and a signal before the time limit, in time for the training to save its state.

    Each of several nodes gives as many GPUs; left to itself, Slurm takes 7 of one node and 1 of the next.
    """
    flags = [f"--signal=TERM@{hardware.stop_seconds}"]
    if hardware.nodes > 1 and hardware.gpu:
        flags += [f"--gpus-per-node={hardware.gpu // hardware.nodes}"]
    return {**slurm_request(hardware.nodes), "slurm_extra": " ".join(flags)}


def _with_gpus(section: TrainingHardware, gpus: int) -> TrainingHardware:
    try:
        return type(section).model_validate({**section.model_dump(), "gpu": gpus})
    except ValidationError as error:
        raise UserError(f"train_policy:gpu={gpus} of the profile: {error.errors()[0]['msg']}") from error
