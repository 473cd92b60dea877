"""What each rule may use of a machine. Hardware is no setting of a result: an edit here reruns nothing."""

from typing import Any

from pydantic import Field, model_validator

from rlhf.base.errors import UserError
from rlhf.base.settings import Settings
from rlhf.machine.choices import Activations, BudgetChoice, Strategy, Tracker, check_strategy


class AnyHardware(Settings):
    """What one job gets, but for its memory."""

    gpu: int = Field(0, ge=0, le=100_000)
    """GPUs of the job; 0 runs on the CPU."""
    threads: int = Field(1, ge=1, le=4096)
    """CPU threads, for computing too: sums depend on their number in the last digits."""
    runtime: int = Field(60, ge=1, le=525_600)
    """Minutes until a scheduler may stop the job, at most a year."""


class JobHardware(AnyHardware):
    """What one job gets."""

    mem_mb: int | None = Field(None, ge=1, le=100_000_000)
    """Memory in megabytes (100 million are 100 TB, more than a machine has); null for what follows from the number of
    prompts and draws, the part size and the longest prompts and responses (all of that length)."""


class BatchedHardware(AnyHardware):
    """What one job gets, and how much it computes at once."""

    mem_mb: int = Field(4000, ge=1, le=100_000_000)
    """Memory in megabytes; 100 million are 100 TB, more than a machine has."""
    token_budget: BudgetChoice = "auto"
    """Tokens in one forward pass: bounds the memory. `auto`: as many as fit the GPU with a tenth of it to spare; 16384
    on a CPU. vLLM has a budget of its own."""


class TrainingHardware(BatchedHardware):
    """What a training job gets."""

    processes: int | None = Field(None, ge=1, le=100_000)
    """Processes that share the work, each with `threads` threads. Null: one per GPU, or one on the CPU."""
    nodes: int = Field(1, ge=1, le=100_000)
    """Machines of one Slurm job, over which GPUs and processes are spread evenly. `gpu` counts those of all of them,
    `mem_mb` is the memory of each."""
    strategy: Strategy | None = None
    """How they share it; null: `single` for one process, `zero3` for several. `single`: one process. `ddp`: each has
    the whole model, and gradients are averaged. `zero3` (DeepSpeed) and `fsdp2`: each has a share of weights and
    moments; `config/accelerate/` holds their options."""
    activations: Activations = "keep"
    """`recompute`: compute each layer again in the backward pass: less memory, a third more time."""
    save_seconds: int = Field(1800, ge=0, le=31_536_000)
    """Seconds between two saves of the state from which a killed training goes on; 0 saves after every step."""
    stop_seconds: int | None = Field(None, ge=1, le=65535)
    """Seconds from the signal to end (SIGTERM), after which a training ends its step and saves its state, until it is
    killed. Slurm sends the signal so long before the time limit, or up to a minute earlier. Null: as long as
    the longest step with a validation and the writing of the state take (12 bytes per trained weight, at 0.5 GB/s), and
    half a minute: 300 for the published training, and 300 where the size of the model is not known."""
    tracker: Tracker = "none"
    """Where metrics go too while it trains: `tensorboard` to `{policy}/tensorboard` beside the checkpoint, `wandb` and
    `trackio` to where these packages are set to send them. The package must be installed in the environment."""

    @model_validator(mode="after")
    def _check_together(self) -> "TrainingHardware":
        try:
            check_strategy(self.sharing, self.process_count, cpu=self.gpu == 0)
        except UserError as error:
            raise ValueError(str(error)) from error
        if self.gpu not in (0, self.process_count):
            raise ValueError(f"{self.gpu} GPU(s) for {self.process_count} process(es): each takes one GPU")
        if self.process_count % self.nodes:
            raise ValueError(f"{self.process_count} process(es) on {self.nodes} nodes: each node takes as many")
        if self.stop_seconds is not None and self.stop_seconds >= 60 * self.runtime:
            raise ValueError(
                f"stop_seconds {self.stop_seconds} is not less than the runtime of {self.runtime} minute(s): Slurm "
                "would ask the training to end as it starts. Raise `runtime`, or lower `stop_seconds`"
            )
        return self

    @property
    def process_count(self) -> int:
        """Processes, whether they were given or follow from the GPUs."""
        return self.processes or max(1, self.gpu)

    @property
    def threads_per_node(self) -> int:
        """Threads of all processes of a node."""
        return self.threads * self.process_count // self.nodes

    @property
    def sharing(self) -> Strategy:
        """The strategy, whether it was given or follows from the number of processes."""
        return self.strategy or ("single" if self.process_count == 1 else "zero3")


class HardwareSettings(Settings):
    """A section per rule; a key that a section leaves out keeps the rule's own default."""

    gpu_memory_gb: float = Field(80, ge=1, le=100_000)
    """Memory of a GPU in 10^9 bytes, for the plan: what cannot fit stops it. A job reads its own GPU's."""
    gpu_tflops: float = Field(989, ge=0.01, le=1_000_000)
    """Dense products of bfloat16 that a GPU makes at most, in 10^12 operations per second, for the hours of the plan;
    the default is an H100's."""

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
    """Tokenizes responses that you bring."""
    generate_responses: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=720)
    """Samples responses, one part per job."""
    score_responses: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=360)
    """Scores responses with the reward model."""
    import_rewards: JobHardware = JobHardware()
    """Takes over rewards that you bring."""
    combine_rewards: JobHardware = JobHardware()
    """Combines the scores of several scorers."""
    judge_responses: BatchedHardware = BatchedHardware()
    """Scores the test responses with the evaluation's judge."""
    build_pairs: JobHardware = JobHardware()
    """Chooses pairs."""
    compute_logprobs: BatchedHardware = BatchedHardware(gpu=1, threads=4, mem_mb=64000, runtime=240)
    """Log-probabilities of the pairs under their reference."""
    train_policy: TrainingHardware = TrainingHardware(gpu=1, threads=4, mem_mb=128000, runtime=1440)
    """Trains a policy."""
    evaluate_policy: JobHardware = JobHardware()
    """Win rates and their intervals."""
    report: JobHardware = JobHardware()
    """The page."""
    tiny: JobHardware = JobHardware()
    """The rules that make the tiny world."""
