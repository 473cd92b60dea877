"""Memory and time of an experiment's jobs, as `make plan` shows them."""

from __future__ import annotations

from functools import cached_property

from rlhf.rewards.model_scorer import ModelScorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.hardware import TrainingHardware
from workflow.planning.gpu_hours import MEAN_PROMPT, MEAN_RESPONSE, expected_seconds
from workflow.planning.memory_check import gigabytes, policy_shape, scorer_shape, scorers_of


class Forecast:
    """Estimates for an experiment before it runs.

    Args:
        training: the hardware of `train_policy`, with overrides from a profile.
    """

    assumptions = (
        f"prompts of {MEAN_PROMPT} and responses of {MEAN_RESPONSE} tokens, and the rates that other projects publish "
        "(see README)."
    )

    def __init__(self, experiment: Experiment, training: TrainingHardware) -> None:
        self.experiment = experiment
        self.training = training

    def seconds(self, rule: str, policy: str, part: str) -> float | None:
        """Seconds of a GPU job; None for other jobs, and if the shape of the model is unknown."""
        return expected_seconds(self.experiment, self.training, rule, policy, part)

    @cached_property
    def gigabytes(self) -> dict[str, float]:
        """GB per GPU, by rule."""
        return gigabytes(self.experiment, self.training)

    @property
    def unknown_models(self) -> list[str]:
        """Models of GPU stages whose shapes are not known yet."""
        hardware = self.experiment.hardware
        names: dict[str, None] = {}
        on_gpus = hardware.generate_responses.gpu or hardware.compute_logprobs.gpu or self.training.gpu
        if on_gpus and policy_shape(self.experiment) is None:
            names[self.experiment.base_model.name] = None
        judge = self.experiment.evaluation.judge
        scorers = scorers_of(self.experiment) if hardware.score_responses.gpu else []
        for scorer in [*scorers, *([judge] if judge and hardware.judge_responses.gpu else [])]:
            if isinstance(scorer, ModelScorer) and scorer_shape(scorer) is None:
                names[scorer.model] = None
        return [name for name in names if not name.startswith(MADE_BY_RULES)]
