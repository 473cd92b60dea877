"""Memory and time of an experiment's jobs, as `make plan` shows them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from rlhf.benchmarks.costs import expected
from rlhf.benchmarks.settings import BudgetSettings
from rlhf.rewards.kinds.llm import LlmSettings
from rlhf.rewards.model_scorer import ModelScorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.hardware import TrainingHardware
from workflow.planning.gpu_hours import MEAN_PROMPT, MEAN_RESPONSE, expected_seconds
from workflow.planning.memory_check import gigabytes, policy_shape, scorer_shape, scorers_of


def _asked_of_scorer(experiment: Experiment, jobs: Iterable[tuple[str, str, str]]) -> list[str]:
    """Requests to each language model that scores responses (`kind: llm`)."""
    lines = []
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, LlmSettings):
            rule = "judge_responses" if key == "evaluation.judge" else "score_responses"
            requests = sum(_requests(experiment, scorer, policy, part) for name, policy, part in jobs if name == rule)
            lines += [f"{key}: about {requests:,} requests to {scorer.model}."] if requests else []
    return lines


def _requests(experiment: Experiment, scorer: LlmSettings, policy: str, part: str) -> int:
    """Requests for a part: a rating per response; or each pair of responses, and in test parts each draw beside that
    of `base`, in both orders."""
    rows, draws = experiment.rows(part), experiment.responses.draws
    if not scorer.compares_draws:
        return (rows.stop - rows.start) * draws
    compared = 2 * draws if policy != "base" and not part.startswith("train-") else 0
    return (rows.stop - rows.start) * (draws * (draws - 1) + compared)


def _budget(budget: BudgetSettings) -> str:
    limits = {name: limit for name, limit in budget.model_dump().items() if limit is not None}
    return ", ".join(f"{name} {limit:,}" for name, limit in limits.items()) or "none"


def _short(count: float) -> str:
    return f"{count / 1e6:,.1f} million" if count >= 1e6 else f"{count:,.0f}"


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

    def judging(self, jobs: Iterable[tuple[str, str, str]]) -> list[str]:
        """What judges behind servers, and those that a job serves, will be asked: a line each.

        Args:
            jobs: (rule, policy, part) of each job.
        """
        lines = [asked for asked in (_asked_of_scorer(self.experiment, jobs), self._benchmarks(jobs)) if asked]
        return [line for found in lines for line in found]

    def _benchmarks(self, jobs: Iterable[tuple[str, str, str]]) -> list[str]:
        section = self.experiment.benchmarks
        names = [part for rule, _, part in jobs if rule == "run_benchmark"]
        asked = [found for name in names if (found := expected(name, section.run[name], section.judge))]
        if not asked:
            return []
        unknown = len(names) - len(asked)
        lines = [
            f"Benchmarks: about {sum(each.answers for each in asked):,} answers of "
            f"{_short(sum(each.answer_tokens for each in asked))} tokens"
            + (f", and {unknown} job(s) of benchmarks of unknown size." if unknown else ".")
        ]
        if section.judge and (requests := sum(each.judge_requests for each in asked)):
            tokens, money = sum(each.judge_tokens for each in asked), sum(each.money for each in asked)
            lines.append(
                f"Their judge {section.judge.model}: about {requests:,} requests, {_short(tokens)} tokens"
                + (f", {money:,.2f} at its prices" if money else "")
                + f"; budget: {_budget(section.budget)}. What is answered already is not asked again."
            )
        return lines

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
