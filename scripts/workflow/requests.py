"""The resources that each rule requests from the machine or a scheduler; changing them reruns nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rlhf.base.errors import UserError
from rlhf.base.source_digest import SCRIPTS
from workflow.experiment import Experiment
from workflow.hardware import BatchedHardware, ServingHardware, TrainingHardware
from workflow.paths import Paths
from workflow.planning.cpu_memory import job_mb
from workflow.planning.memory_check import check_memory, policy_shape
from workflow.planning.saving_requests import disk_mb, with_stop_seconds


@dataclass(frozen=True)
class Requests:
    """The resource requests of an experiment's rules."""

    experiment: Experiment
    training: TrainingHardware
    """Hardware of `train_policy`, with overrides from a profile and a definite `stop_seconds`."""
    profile_gpus: Mapping[str, int]
    """GPUs per rule set by a profile, overriding the experiment."""

    @classmethod
    def of(cls, experiment: Experiment, profile_gpus: Mapping[str, int]) -> Requests:
        """The requests of an experiment.

        Raises:
            UserError: the GPUs set by a profile do not suit the training, or a stage cannot fit its GPUs.
        """
        section = experiment.hardware.train_policy
        training = with_stop_seconds(experiment, _with_gpus(section, profile_gpus.get("train_policy", section.gpu)))
        check_memory(experiment, training)
        return cls(experiment, training, profile_gpus)

    def program(self) -> dict[str, str]:
        """For every rule: the folder of the programs, the commits of hub repositories, and the answers of judges."""
        paths = Paths(self.experiment)
        return {"scripts": str(SCRIPTS), "revisions": paths.revisions, "journal": paths.journal}

    def cpu(self, rule: str) -> dict[str, Any]:
        """The request of a CPU job."""
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
        """The request of a job that runs a model, on one node.

        Snakemake may reduce `gpu`, and `threads` to --cores; `gpu_request` and `compute_threads` keep the requested
        numbers.
        """
        section: BatchedHardware = getattr(self.experiment.hardware, rule)
        return {**self._model(rule, section), "token_budget": section.token_budget}

    def run_benchmark(self) -> dict[str, Any]:
        """The request of a benchmark: a model is served, a judge is asked."""
        section = self.experiment.hardware.run_benchmark
        judge, budget = self.experiment.benchmarks.judge, self.experiment.benchmarks.budget
        prices = (judge.input_price, judge.output_price) if judge else (0.0, 0.0)
        return {
            **self._model("run_benchmark", section),
            "journal": Paths(self.experiment).benchmark_journal,
            "in_flight": section.in_flight,
            "judge_tensor_parallel": section.judge_tensor_parallel,
            "judge_key": (judge and judge.key_variable) or "none",
            "judge_prices": " ".join(map(str, prices)),
            "judge_budget": " ".join(
                "none" if limit is None else str(limit) for limit in (budget.requests, budget.tokens, budget.money)
            ),
        }

    def _model(self, rule: str, section: BatchedHardware | ServingHardware) -> dict[str, Any]:
        return {
            **self.program(),
            **slurm_request(nodes=1),
            "gpu": section.gpu,
            "gpu_request": self.profile_gpus.get(rule, section.gpu),
            "compute_threads": section.threads,
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
            "strategy": section.effective_strategy,
            "activations": section.activations,
            "tracker": section.tracker,
            "save_seconds": section.save_seconds,
            "stop_seconds": section.stop_seconds,
            # No more at a retry: it goes on from the saved state, and whole nodes have no more to give.
            "mem_mb": section.mem_mb,
        }

    def _disk(self) -> dict[str, Callable[..., int]]:
        """The disk space of a training; if the size of its model is unknown, the default of the profile applies.

        Saved states are written beside the results, on the disk of the project.
        """
        if policy_shape(self.experiment) is None:
            return {}
        return {"disk_mb": lambda wildcards: disk_mb(self.experiment, self.training, wildcards.policy)}


def growing(amount: int) -> Callable[..., int]:
    """A resource that doubles at the first retry and triples at the second."""
    return lambda wildcards, attempt: amount * attempt


def slurm_request(nodes: int) -> dict[str, Any]:
    """One task on each node, for Slurm.

    By default Snakemake's plugin requests one task per GPU, each with all CPUs of the job, on any number of nodes. It
    treats a job on several nodes as an MPI job and leaves `srun` to the program.
    """
    several = {"tasks": nodes, "mpi": "srun"} if nodes > 1 else {}
    return {"nodes": nodes, "tasks_per_gpu": 0, **several}


def training_slurm_request(hardware: TrainingHardware) -> dict[str, Any]:
    """As `slurm_request`, plus a signal before the time limit, in time for the training to save its state.

    GPUs are spread evenly over several nodes; by default Slurm might take 7 on one node and 1 on the next.
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
