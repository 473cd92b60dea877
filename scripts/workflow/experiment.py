"""The configuration of an experiment, whole. For the workflow alone: programs get a `--spec` of their own stage."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from rlhf.base.errors import UserError
from rlhf.base.names import part_names
from rlhf.base.settings import Settings
from rlhf.evaluation.settings import IntervalSettings
from rlhf.logprobs.settings import LogprobSettings
from rlhf.models.source import ModelSettings
from rlhf.pairs.settings import PairSettings
from rlhf.prompts.settings import PromptSettings
from rlhf.report.settings import ReportSettings
from rlhf.responses.settings import ResponseSettings
from rlhf.rewards.kinds.armo import ArmoSettings
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.tiny.settings import TinySettings
from rlhf.training.loss import PairLoss
from rlhf.training.settings import RecipeSettings, TrainingSettings, check_optimizer
from workflow.hardware import HardwareSettings
from workflow.reference.errors import describe

MADE_BY_RULES = "{results}/"
WORLD_PROMPTS = "{results}/world/prompts.parquet"
WORLD_POLICY = "{results}/world/policy"
WORLD_REWARD_MODEL = "{results}/world/reward_model"

VariantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
MOST_PARTS = 10_000
MOST_PART_JOBS = 100_000
"""Parts of all policies. A plan of 1,000 parts takes seconds, one of 100,000 hours."""


class VariantSettings(TrainingSettings):
    """A training recipe by name: its loss, and the keys of `training` that differ."""

    loss: PairLoss
    """The loss and its hyperparameters."""


class EvaluationSettings(IntervalSettings):
    """Who judges, beside the training reward, and how intervals are made."""

    judge: Scorer | None = None
    """An independent judge of the test responses: policies should not be judged by their training reward alone."""


class Experiment(Settings):
    """One configuration file, one folder of results."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """The folder under `results/`: two experiments never touch each other's files. Letters, digits, point, dash and
    underscore, at most 100, for file systems take no name of more than 255."""
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
            raise ValueError(
                "variants.base: `base` is the name of the policy that all variants start from: rename this variant"
            )
        self._check_made_by_rules()
        self._check_lengths()
        self._check_number_of_parts()
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
        return self

    def _check_made_by_rules(self) -> None:
        imported = self.responses.imported
        for key, value, revision, made in (
            ("base_model.name", self.base_model.name, self.base_model.revision, WORLD_POLICY),
            ("prompts.dataset", self.prompts.dataset, None, WORLD_PROMPTS),
            *((key, model, revision, WORLD_REWARD_MODEL) for key, model, revision in self.reward_models()),
            *([("responses.imported.dataset", imported.dataset, None, None)] if imported else []),
        ):
            if "{" in value and (value != made or self.tiny is None):
                allowed = f"`tiny` makes {made!r} where it is configured" if made else "give a file or a hub dataset"
                raise ValueError(f"{key}: no rule makes {value!r}; {allowed}")
            if revision is not None and (value == made or not revision):
                raise ValueError(
                    f"{key.rsplit('.', 1)[0]}.revision: it is {revision!r}, and {value!r} has no such revision: give "
                    "a commit, branch or tag of the hub's repository, or null"
                )

    def _check_lengths(self) -> None:
        """Raise ValueError where tokens cannot fit, whatever the model."""
        prompt, response = self.prompts.max_tokens, self.responses.max_tokens
        longest = self.responses.max_model_len
        if response < 2:
            raise ValueError(
                f"responses.max_tokens: it is {response}, which is room for the end-of-turn token alone; allowed: 2 "
                "and more"
            )
        if longest is not None and prompt + response > longest:
            raise ValueError(
                f"responses.max_model_len: it is {longest}, and prompts.max_tokens ({prompt}) and responses.max_tokens "
                f"({response}) together are {prompt + response}; allowed: that and more, or null"
            )

    def _check_number_of_parts(self) -> None:
        """Raise ValueError where there are too few prompts or parts, or more than a plan can hold."""
        train, test, size = self.prompts.train, self.prompts.test, self.prompts.part_size
        if self.tiny and self.prompts.dataset == WORLD_PROMPTS and train + test > self.tiny.prompts:
            raise ValueError(
                f"prompts.train: prompts.train ({train}) and prompts.test ({test}) ask for {train + test} prompts, and "
                f"tiny.prompts makes {self.tiny.prompts}"
            )
        parts = -(-train // size) - (-test // size)
        iterations = {variant: self.iterations(variant) for variant in self.variants}
        if parts > MOST_PARTS or parts * (1 + sum(iterations.values())) > MOST_PART_JOBS:
            raise ValueError(
                f"prompts.part_size: it is {size}, which makes {parts:,} parts for each of "
                f"{1 + sum(iterations.values()):,} policies; a plan takes at most {MOST_PARTS:,} parts, and "
                f"{MOST_PART_JOBS:,} with those of all policies. Raise it (a part is the work of one job), or lower "
                "`training.iterations`"
            )
        share, most = self.prompts.per_iteration, max(iterations.values())
        available = -(-train // size)
        if share != "all" and most * share > available:
            raise ValueError(
                f"prompts.per_iteration: {most} iterations with {share} train part(s) each need {most * share}, and "
                f"prompts.train makes {available}"
            )

    def scorers(self) -> dict[str, Scorer]:
        """Every scorer, of the rewards and the judge, by its key in the configuration."""
        found: dict[str, Scorer] = {}
        if isinstance(self.rewards, CombinedSettings):
            found = {f"rewards.scorers.{name}.scorer": part.scorer for name, part in self.rewards.scorers.items()}
        elif isinstance(self.rewards, Scorer):
            found = {"rewards": self.rewards}
        return found | ({"evaluation.judge": self.evaluation.judge} if self.evaluation.judge else {})

    def reward_models(self) -> Iterator[tuple[str, str, str | None]]:
        """Key, name and revision of every reward model."""
        for key, scorer in self.scorers().items():
            if isinstance(scorer, ModelScorer):
                yield f"{key}.model", scorer.model, scorer.revision

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
