"""The hardware each rule may use. Hardware never changes a result, so editing it reruns nothing."""

from typing import Any

from pydantic import Field, model_validator

from rlhf.base.errors import UserError
from rlhf.base.settings import Settings
from rlhf.machine.choices import Activations, BudgetChoice, Strategy, Tracker, check_strategy


class AnyHardware(Settings):
    """GPUs, threads and time of one job."""

    gpu: int = Field(0, ge=0, le=100_000)
    """GPUs per job; 0 runs on the CPU."""
    threads: int = Field(1, ge=1, le=4096)
    """CPU threads per job, also for the computation: sums depend on their number in the last digits."""
    runtime: int = Field(60, ge=1, le=525_600)
    """Time limit in minutes, at most a year."""


class JobHardware(AnyHardware):
    """Resources of a job that runs no model."""

    mem_mb: int | None = Field(None, ge=1, le=100_000_000)
    """Memory in megabytes, at most 100 TB. Null computes it from the number of prompts and draws, the part size, and
    the maximum lengths of prompts and responses."""


class BatchedHardware(AnyHardware):
    """Resources of a job that runs a model."""

    mem_mb: int = Field(4000, ge=1, le=100_000_000)
    """Memory in megabytes, at most 100 TB."""
    token_budget: BudgetChoice = "auto"
    """Tokens in one forward pass, which bounds the memory. `auto` takes as many as fit on the GPU with a tenth of its
    memory to spare, or 16384 on a CPU. On a CPU, scoring, log-probabilities and training never take more than 2048 at
    once: larger packs are slower there. vLLM has a budget of its own, so with it only `auto` is allowed for
    `generate_responses`."""


class ServingHardware(AnyHardware):
    """Resources of a job that serves a model with vLLM."""

    mem_mb: int = Field(64000, ge=1, le=100_000_000)
    """Memory in megabytes, at most 100 TB."""
    in_flight: int = Field(64, ge=1, le=10_000)
    """Questions that are asked at a time."""
    judge_tensor_parallel: int = Field(1, ge=1, le=1024)
    """GPUs over which one copy of a judge that the job serves is spread, for a judge that is larger than a GPU. The
    policy has a copy on every GPU."""

    @model_validator(mode="after")
    def _check_together(self) -> "ServingHardware":
        if self.gpu and self.gpu % self.judge_tensor_parallel:
            raise ValueError(
                f"judge_tensor_parallel {self.judge_tensor_parallel}: `gpu` ({self.gpu}) is not a multiple of it"
            )
        return self


class TrainingHardware(BatchedHardware):
    """Resources of a training job."""

    processes: int | None = Field(None, ge=1, le=100_000)
    """Number of processes (ranks), each with `threads` threads. Null starts one per GPU, or one on the CPU."""
    nodes: int = Field(1, ge=1, le=100_000)
    """Number of nodes; needs Slurm if more than one. GPUs and processes are spread evenly over the nodes: `gpu` is the
    total, `mem_mb` the memory per node."""
    strategy: Strategy | None = None
    """How training is distributed. `single`: one process. `ddp`: every process holds the whole model and gradients are
    averaged. `zero3` (DeepSpeed) and `fsdp2` shard weights, gradients and optimizer state; their options are in
    `config/accelerate/`. Null: `single` for one process, `zero3` for several."""
    activations: Activations = "keep"
    """`recompute` turns on activation checkpointing: less memory, about a third more time."""
    save_seconds: int = Field(1800, ge=0, le=31_536_000)
    """Seconds between saves of the training state that a killed run resumes from; 0 saves after every step."""
    stop_seconds: int | None = Field(None, ge=1, le=65535)
    """Grace period in seconds between SIGTERM and the kill, in which a training finishes its step and saves its state.
    Slurm sends SIGTERM this long before the time limit, or up to a minute earlier. Null computes it: the longest step
    with a validation, writing the state (12 bytes per trained weight at 0.5 GB/s), and half a minute. That is 300 for
    the published experiment; 300 is also used if the size of the model is unknown."""
    tracker: Tracker = "none"
    """Experiment tracker to log metrics to during training. `tensorboard` writes to `{policy}/tensorboard` beside the
    checkpoint; `wandb` and `trackio` send metrics where those packages are configured to. The package must be
    installed in the environment."""

    @model_validator(mode="after")
    def _check_together(self) -> "TrainingHardware":
        try:
            check_strategy(self.effective_strategy, self.process_count, cpu=self.gpu == 0)
        except UserError as error:
            raise ValueError(str(error)) from error
        if self.gpu not in (0, self.process_count):
            raise ValueError(f"{self.gpu} GPU(s) for {self.process_count} process(es): every process needs one GPU")
        if self.process_count % self.nodes:
            raise ValueError(
                f"{self.process_count} process(es) on {self.nodes} nodes: the number must be a multiple of the nodes"
            )
        if self.stop_seconds is not None and self.stop_seconds >= 60 * self.runtime:
            raise ValueError(
                f"stop_seconds {self.stop_seconds} is not less than the runtime of {self.runtime} minute(s): Slurm "
                "would ask the training to end as it starts. Raise `runtime`, or lower `stop_seconds`"
            )
        return self

    @property
    def process_count(self) -> int:
        """The number of processes, given or derived from the GPUs."""
        return self.processes or max(1, self.gpu)

    @property
    def threads_per_node(self) -> int:
        """Threads of all processes on a node."""
        return self.threads * self.process_count // self.nodes

    @property
    def effective_strategy(self) -> Strategy:
        """The strategy, given or derived from the number of processes."""
        return self.strategy or ("single" if self.process_count == 1 else "zero3")


class HardwareSettings(Settings):
    """One section per rule; a key that is left out keeps the default of its rule."""

    gpu_memory_gb: float = Field(80, ge=1, le=100_000)
    """GPU memory in 10^9 bytes, used by the plan, which stops if a stage cannot fit. A running job asks its GPU."""
    gpu_tflops: float = Field(989, ge=0.01, le=1_000_000)
    """Peak dense bfloat16 throughput of a GPU in TFLOP/s, used to estimate GPU hours; the default is an H100's."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_rule_defaults(cls, sections: Any) -> Any:
        if not isinstance(sections, dict):
            return sections
        defaults = {rule: field.default for rule, field in cls.model_fields.items()}
        return {
            rule: {**defaults[rule].model_dump(), **given}
            if isinstance(defaults.get(rule), AnyHardware) and isinstance(given, dict)
            else given
            for rule, given in sections.items()
        }

    collect_prompts: JobHardware = JobHardware()
    """Tokenizes the prompts."""
    import_responses: JobHardware = JobHardware()
    """Tokenizes imported responses."""
    generate_responses: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=720)
    """Samples responses; one job per part."""
    score_responses: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=360)
    """Scores responses with the reward model."""
    import_rewards: JobHardware = JobHardware()
    """Reads imported rewards."""
    combine_rewards: JobHardware = JobHardware()
    """Combines the scores of several scorers."""
    judge_responses: BatchedHardware = BatchedHardware()
    """Scores the test responses with the judge of the evaluation."""
    build_pairs: JobHardware = JobHardware()
    """Chooses pairs."""
    build_examples: JobHardware = JobHardware()
    """Labels responses as desirable or undesirable."""
    import_pairs: JobHardware = JobHardware()
    """Tokenizes imported pairs."""
    compute_logprobs: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=240)
    """Computes log-probabilities of the pairs, and of examples, under the reference policy."""
    train_policy: TrainingHardware = TrainingHardware(gpu=1, threads=4, mem_mb=128000, runtime=1440)
    """Trains a policy."""
    measure_drift: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=240)
    """Computes log-probabilities of test responses under a policy and under `base`."""
    evaluate_policy: JobHardware = JobHardware()
    """Computes win rates and their confidence intervals."""
    length_control: JobHardware = JobHardware()
    """Computes win rates at equal length."""
    choose_variants: JobHardware = JobHardware()
    """Chooses the points of a sweep that are trained in full."""
    run_benchmark: ServingHardware = ServingHardware(gpu=1, threads=4, runtime=720)
    """Serves a policy and asks it the questions of a benchmark; one job per policy and benchmark."""
    summarize_benchmarks: JobHardware = JobHardware()
    """Computes the scores of the benchmarks and their intervals."""
    report: JobHardware = JobHardware()
    """Writes the report."""
    tiny: JobHardware = JobHardware()
    """The rules that make the tiny world."""
