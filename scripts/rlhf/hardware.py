"""What each rule may use of a machine. Hardware is no setting of a result: an edit here reruns nothing."""

from typing import Any, Literal

from pydantic import Field, model_validator

from rlhf.settings import Settings


class JobHardware(Settings):
    """What one job gets."""

    gpu: int = Field(0, ge=0)
    """GPUs of the job; 0 runs on the CPU."""
    threads: int = Field(1, ge=1)
    """CPU threads, for computing too: sums depend on their number in the last digits."""
    mem_mb: int = Field(4000, ge=1)
    """Memory in megabytes."""
    runtime: int = Field(60, ge=1)
    """Minutes until a scheduler may stop the job."""


class BatchedHardware(JobHardware):
    """What one job gets, and how much it computes at once."""

    token_budget: int = Field(16384, ge=1)
    """Tokens in one forward pass, padding included: bounds the memory."""


class TrainingHardware(BatchedHardware):
    """What a training job gets."""

    processes: int = Field(1, ge=1)
    """Processes that share the work: one per GPU, or several on a CPU, each with `threads` threads."""
    strategy: Literal["single", "ddp"] = "single"
    """How they share it. `single`: one process. `ddp`: each has the whole model, and gradients are averaged."""
    save_seconds: int = Field(1800, ge=0)
    """Seconds between two saves of the state from which a killed training goes on; 0 saves after every step."""

    @model_validator(mode="after")
    def _check_together(self) -> "TrainingHardware":
        if (self.strategy == "single") != (self.processes == 1):
            raise ValueError(f"strategy {self.strategy!r} with {self.processes} process(es): `single` is one process")
        return self


class HardwareSettings(Settings):
    """A section per rule; a key that a section leaves out keeps the rule's own default."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_rule_defaults(cls, sections: Any) -> Any:
        if not isinstance(sections, dict):
            return sections
        return {
            rule: {**cls.model_fields[rule].default.model_dump(), **given}
            if rule in cls.model_fields and isinstance(given, dict)
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
