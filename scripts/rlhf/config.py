"""The configuration of an experiment, whole. For the workflow alone: programs get a `--spec` of their own stage."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from rlhf.config_errors import describe
from rlhf.errors import UserError
from rlhf.evaluation import EvaluationSettings
from rlhf.hardware import HardwareSettings
from rlhf.logprobs import LogprobSettings
from rlhf.models import ModelSettings
from rlhf.pairs import PairSettings
from rlhf.parts import part_names
from rlhf.prompts import PromptSettings
from rlhf.report.settings import ReportSettings
from rlhf.responses import ResponseSettings
from rlhf.rewards import ArmoSettings, CombinedSettings, RewardSettings, Scorer, SequenceClassificationSettings
from rlhf.settings import Settings
from rlhf.tiny.settings import TinySettings
from rlhf.training import RecipeSettings, TrainingSettings, VariantSettings, check_optimizer

MADE_BY_RULES = "{results}/"
WORLD_PROMPTS = "{results}/world/prompts.parquet"
WORLD_POLICY = "{results}/world/policy"
WORLD_REWARD_MODEL = "{results}/world/reward_model"

VariantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class Experiment(Settings):
    """One configuration file, one folder of results."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The folder under `results/`: two experiments never touch each other's files."""
    seed: int = Field(5775709, ge=0, lt=2**63)
    """The one seed: order of the prompts, every draw, order of the pairs, resampling, the tiny world."""
    environments: Literal["conda", "embedded"] = "conda"
    """`conda`: each rule in its environment (`--sdm conda`); `embedded`: all in the environment of the workflow."""
    base_model: ModelSettings = ModelSettings(name="meta-llama/Meta-Llama-3-8B-Instruct")
    """The policy `base`."""
    prompts: PromptSettings
    """Prompts, split and parts."""
    responses: ResponseSettings = ResponseSettings()
    """Sampling."""
    rewards: RewardSettings = ArmoSettings()
    """The reward that pairs are chosen by and training regresses on."""
    pairs: PairSettings = PairSettings()
    """Choice of the pairs."""
    logprobs: LogprobSettings = LogprobSettings()
    """Log-probabilities, here and in training."""
    training: TrainingSettings = TrainingSettings()
    """What all variants share."""
    variants: dict[VariantName, VariantSettings] = Field(min_length=1)
    """Training recipes by name; variant `x` makes the policies `x-1`, `x-2`, ..."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Judge and intervals."""
    report: ReportSettings = ReportSettings()
    """Names and examples on the page."""
    hardware: HardwareSettings = HardwareSettings()
    """What each rule may use of a machine; never changes a result, never reruns anything."""
    tiny: TinySettings | None = None
    """The embedded tiny world, for experiments that name `{results}/world/...`; null for real ones."""

    @model_validator(mode="after")
    def _check_together(self) -> "Experiment":
        if "base" in self.variants:
            raise ValueError("`base` is the name of the policy that all variants start from: rename this variant")
        self._check_made_by_rules()
        for variant in self.variants:
            try:
                check_optimizer(self.recipe(variant), self.hardware.train_policy.sharing)
            except UserError as error:
                raise ValueError(f"variants.{variant}: {error}") from error
        if isinstance(self.rewards, CombinedSettings) and self.responses.imported and self.responses.imported.rewards:
            raise ValueError(
                "responses.imported.rewards: imported rewards are not on the scale of combined ones: score the "
                "responses (`rewards: false`), or name a single scorer"
            )
        if self.prompts.per_iteration != "all":
            iterations = max(self.iterations(variant) for variant in self.variants)
            available = len(part_names("train", self.prompts.train, self.prompts.part_size))
            if iterations * self.prompts.per_iteration > available:
                raise ValueError(
                    f"prompts.per_iteration: {iterations} iterations with {self.prompts.per_iteration} train part(s) "
                    f"each need {iterations * self.prompts.per_iteration}, and prompts.train makes {available}"
                )
        return self

    def _check_made_by_rules(self) -> None:
        for key, value, made in (
            ("base_model.name", self.base_model.name, WORLD_POLICY),
            ("prompts.dataset", self.prompts.dataset, WORLD_PROMPTS),
            *((f"{key}.model", model, WORLD_REWARD_MODEL) for key, model in self._reward_models()),
        ):
            if value.startswith(MADE_BY_RULES) and (value != made or self.tiny is None):
                raise ValueError(f"{key}: no rule makes {value!r}; `tiny` makes {made!r} where it is configured")

    def _reward_models(self) -> Iterator[tuple[str, str]]:
        scorers: dict[str, Scorer | None] = {"evaluation.judge": self.evaluation.judge}
        if isinstance(self.rewards, CombinedSettings):
            scorers |= {f"rewards.scorers.{name}.scorer": part.scorer for name, part in self.rewards.scorers.items()}
        else:
            scorers["rewards"] = self.rewards
        for key, scorer in scorers.items():
            if isinstance(scorer, ArmoSettings | SequenceClassificationSettings):
                yield key, scorer.model

    def iterations(self, variant: str) -> int:
        """The variant's own number of iterations, or that of `training`."""
        settings = self.variants[variant]
        return settings.iterations if "iterations" in settings.model_fields_set else self.training.iterations

    def recipe(self, variant: str) -> RecipeSettings:
        """`training` with what the variant sets differently."""
        settings = self.variants[variant]
        merged = {
            name: getattr(settings if name in settings.model_fields_set else self.training, name)
            for name in RecipeSettings.model_fields
        }
        return RecipeSettings(**merged)

    def policies(self) -> list[str]:
        """`base`, and every `<variant>-<iteration>`."""
        return ["base", *(f"{v}-{i + 1}" for v in self.variants for i in range(self.iterations(v)))]

    def train_parts(self, iteration: int) -> list[str]:
        """The train parts whose pairs iteration 1, 2, ... learns from."""
        parts = part_names("train", self.prompts.train, self.prompts.part_size)
        share = self.prompts.per_iteration
        return parts if share == "all" else parts[(iteration - 1) * share : iteration * share]

    def test_parts(self) -> list[str]:
        return part_names("test", self.prompts.test, self.prompts.part_size)


def variant_and_iteration(policy: str) -> tuple[str, int]:
    """`rebel-2` is iteration 2 of the variant `rebel`."""
    match = re.fullmatch(r"(.+)-(\d+)", policy)
    if match is None:
        raise ValueError(f"{policy!r} is no <variant>-<iteration>")
    return match[1], int(match[2])


def parent(policy: str) -> str:
    """The policy whose data trained this one: of `rebel-1` it is `base`, of `rebel-2` it is `rebel-1`."""
    variant, iteration = variant_and_iteration(policy)
    return "base" if iteration == 1 else f"{variant}-{iteration - 1}"


def load_experiment(config: Mapping[str, Any], source: str) -> Experiment:
    """Validate a configuration.

    Args:
        config: the mapping that Snakemake read.
        source: the file to name in errors.

    Raises:
        UserError: every wrong key and value, what it was, and what it may be.
    """
    try:
        return Experiment.model_validate(dict(config))
    except ValidationError as error:
        raise UserError(f"{source}: this is not a valid experiment\n" + describe(error, Experiment)) from error
