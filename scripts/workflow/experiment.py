"""The whole configuration of an experiment. Only the workflow reads it: each program gets a `--spec` of its own."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from rlhf.base.errors import UserError
from rlhf.base.names import Rows, part_names, part_rows, variant_and_iteration
from rlhf.base.settings import GivenText, Settings
from rlhf.benchmarks.settings import BenchmarksSettings
from rlhf.examples.settings import ExampleSettings
from rlhf.logprobs.settings import LogprobSettings
from rlhf.models.source import ModelSettings
from rlhf.pairs.settings import PairSettings
from rlhf.publishing.repositories import check_publishing
from rlhf.publishing.settings import PublishSettings
from rlhf.report.settings import ReportSettings
from rlhf.responses.settings import ResponseSettings
from rlhf.rewards.kinds.armo import ArmoSettings
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import RewardSettings, Scorer
from rlhf.tiny.settings import TinySettings
from rlhf.training.loss import Loss
from rlhf.training.settings import IterationSettings, RecipeSettings, TrainingSettings, check_optimizer
from workflow.hardware import HardwareSettings
from workflow.iterations import check_iterations
from workflow.planning import sizes
from workflow.reference.errors import describe
from workflow.sections import EvaluationSettings, SplitSettings
from workflow.specs.imported import check_imported
from workflow.variants.settings import SweepName, SweepSettings, VariantName, VariantSettings
from workflow.variants.trained import Sweep, TrainedVariant, sweep_of, trained_variants

MADE_BY_RULES = "{results}/"
WORLD_PROMPTS = "{results}/world/prompts.parquet"
WORLD_POLICY = "{results}/world/policy"
WORLD_REWARD_MODEL = "{results}/world/reward_model"


class Experiment(Settings):
    """One configuration file; its results go to one folder."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the folder under `results/`; experiments with different names never touch each other's files. Letters,
    digits, dot, dash and underscore, at most 100 characters."""
    seed: int = Field(5775709, ge=0, lt=2**63)
    """Seed of everything random: order of the prompts, sampling, order of the pairs, bootstrap, the tiny world."""
    environments: Literal["conda", "embedded"] = "conda"
    """`conda` runs each rule in its own environment (`--sdm conda`); `embedded` runs all of them in the environment
    that Snakemake runs in."""
    reuse: list[GivenText] = Field([])
    """Results of other experiments: those of one (`results/other`), of several (`/data/results`), or published ones
    (a folder, or `hub:owner/name[@commit]`, which `snakemake prefetch` downloads). What they made in exactly the same
    way, with the same inputs and libraries, is linked or copied instead of computed. What they are making at the same
    time is waited for, if they have this key, too."""
    base_model: ModelSettings = ModelSettings(name="meta-llama/Meta-Llama-3-8B-Instruct")
    """The model that is trained, called `base`."""
    prompts: SplitSettings
    """The dataset of prompts, its train and test splits, and the size of a part."""
    responses: ResponseSettings = ResponseSettings()
    """How responses are sampled."""
    rewards: RewardSettings = ArmoSettings()
    """The reward that chooses the pairs and that training learns from."""
    pairs: PairSettings = PairSettings()
    """How the chosen and the rejected response of a prompt are picked."""
    examples: ExampleSettings = ExampleSettings()
    """Which responses are examples, for losses that need no pairs."""
    logprobs: LogprobSettings = LogprobSettings()
    """How log-probabilities are computed, for the reference and in training."""
    training: TrainingSettings = TrainingSettings()
    """Hyperparameters shared by all variants."""
    variants: dict[VariantName, VariantSettings] = Field(min_length=1)
    """Training recipes by name; variant `x` trains the policies `x-1`, `x-2`, ..."""
    sweeps: dict[SweepName, SweepSettings] = Field({})
    """Searches for better settings of a variant, by name: pilots of many settings, and the best of them in full."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """The independent judge, and the confidence intervals."""
    benchmarks: BenchmarksSettings = BenchmarksSettings()
    """AlpacaEval 2, Arena-Hard, MT-Bench and tasks that every policy is measured on; none unless they are listed."""
    report: ReportSettings = ReportSettings()
    """What the report shows."""
    publish: PublishSettings = PublishSettings()
    """What `snakemake publish` makes, and whether it uploads it."""
    hardware: HardwareSettings = HardwareSettings()
    """GPUs, memory and time of each rule; editing it never changes a result and never reruns anything."""
    tiny: TinySettings | None = None
    """The embedded tiny world, for experiments that use `{results}/world/...`; null for real ones."""

    @model_validator(mode="after")
    def _check_together(self) -> "Experiment":
        if "base" in self.variants:
            raise ValueError(
                "variants.base: `base` is the name of the policy that all variants start from: rename this variant"
            )
        self._check_made_by_rules()
        check_publishing(self.publish, self.experiment, self.trained_policies())
        sizes.check_lengths(self.prompts, self.responses)
        sizes.check_sweeps(self.sweeps, self.prompts, self.judges())
        iterations = [self.iterations(name) for name, variant in self.trained.items() if not variant.is_candidate]
        sizes.check_number_of_parts(self.prompts, iterations, len(self.candidates()))
        check_iterations(self)
        if self.tiny and self.prompts.dataset == WORLD_PROMPTS:
            sizes.check_tiny_prompts(self.prompts, self.tiny.prompts)
        sizes.check_sampling_budget(self.responses, self.hardware.generate_responses.token_budget)
        for variant in self.trained:
            try:
                check_optimizer(self.recipe(variant), self.hardware.train_policy.effective_strategy)
            except UserError as error:
                raise ValueError(f"variants.{variant}: {error}") from error
        check_imported(self)
        return self

    def _check_made_by_rules(self) -> None:
        for key, value, revision, made in (
            ("base_model.name", self.base_model.name, self.base_model.revision, WORLD_POLICY),
            ("prompts.dataset", self.prompts.dataset, None, WORLD_PROMPTS),
            *((key, model, revision, WORLD_REWARD_MODEL) for key, model, revision in self.reward_models()),
        ):
            if "{" in value and (value != made or self.tiny is None):
                raise ValueError(f"{key}: no rule makes {value!r}; `tiny` makes {made!r} where it is configured")
            if revision is not None and (value == made or not revision):
                raise ValueError(
                    f"{key.rsplit('.', 1)[0]}.revision: it is {revision!r}, and {value!r} has no such revision: give "
                    "a commit, branch or tag of the hub's repository, or null"
                )

    def scorers(self) -> dict[str, Scorer]:
        """All scorers, of the rewards and of the judge, by their keys in the configuration."""
        found: dict[str, Scorer] = {}
        if isinstance(self.rewards, CombinedSettings):
            found = {f"rewards.scorers.{name}.scorer": part.scorer for name, part in self.rewards.scorers.items()}
        elif isinstance(self.rewards, Scorer):
            found = {"rewards": self.rewards}
        return found | ({"evaluation.judge": self.evaluation.judge} if self.evaluation.judge else {})

    def judges(self) -> list[str]:
        """Who compares policies: the training reward, and the judge of the evaluation if there is one."""
        return ["reward", *(["judge"] if self.evaluation.judge else [])]

    def scorer(self, name: str | None) -> Scorer:
        """The scorer of the rewards; if several are combined, the one with this name."""
        if isinstance(self.rewards, CombinedSettings):
            return self.rewards.scorers[str(name)].scorer
        assert isinstance(self.rewards, Scorer)
        return self.rewards

    def reward_models(self) -> Iterator[tuple[str, str, str | None]]:
        """The key, name and revision of each reward model."""
        for key, scorer in self.scorers().items():
            if isinstance(scorer, ModelScorer):
                yield f"{key}.model", scorer.model, scorer.revision

    @cached_property
    def sweep_points(self) -> dict[str, Sweep]:
        """The sweeps with their points, by name."""
        return {
            name: sweep_of(name, settings, self.variants, self.training, self.seed)
            for name, settings in self.sweeps.items()
        }

    @cached_property
    def trained(self) -> dict[str, TrainedVariant]:
        """All variants that are trained: those that no sweep changes, what sweeps promote, and their candidates."""
        return trained_variants(self.variants, self.sweep_points)

    def iterations(self, variant: str) -> int:
        """The variant's number of iterations; by default that of `training`."""
        found = self.trained[variant]
        if found.iterations is not None:
            return found.iterations
        settings = found.settings
        return settings.iterations if "iterations" in settings.model_fields_set else self.training.iterations

    def recipe(self, variant: str) -> RecipeSettings:
        """The hyperparameters of `training`, overridden by those that the variant sets."""
        return self.trained[variant].settings.recipe(self.training)

    def iteration_settings(self, variant: str) -> IterationSettings:
        """What its iterations take from earlier ones."""
        return self.trained[variant].settings.merged(IterationSettings, self.training)

    def policies(self) -> list[str]:
        """The policies that are reported: `base`, and every `<variant>-<iteration>` but the candidates of sweeps."""
        return ["base", *self.trained_policies()]

    def trained_policies(self) -> list[str]:
        """Every `<variant>-<iteration>` that is reported."""
        variants = [name for name, variant in self.trained.items() if not variant.is_candidate]
        return [f"{variant}-{i + 1}" for variant in variants for i in range(self.iterations(variant))]

    def candidates(self) -> list[str]:
        """The policies that are only compared with others of their sweep."""
        return [f"{name}-1" for name, variant in self.trained.items() if variant.is_candidate]

    def is_candidate(self, policy: str) -> bool:
        return policy != "base" and self.trained[variant_and_iteration(policy)[0]].is_candidate

    def loss(self, policy: str) -> Loss:
        """The loss that a policy is trained with; of a promoted one, its values may differ."""
        return self.trained[variant_and_iteration(policy)[0]].settings.loss

    def rows(self, part: str) -> Rows:
        """The rows of `prompts.parquet` that make up a part: selection prompts lie before the test prompts."""
        split = part.rsplit("-", 1)[0]
        found = part_rows(part, getattr(self.prompts, split), self.prompts.part_size)
        behind = self.prompts.test if split == "selection" else 0
        return Rows(start=found.start - behind, stop=found.stop - behind)

    def train_parts(self, iteration: int) -> list[str]:
        """The train parts that iteration 1, 2, ... is trained on."""
        parts = part_names("train", self.prompts.train, self.prompts.part_size)
        share = self.prompts.per_iteration
        return parts if share == "all" else parts[(iteration - 1) * share : iteration * share]

    def test_parts(self) -> list[str]:
        return part_names("test", self.prompts.test, self.prompts.part_size)

    def selection_parts(self) -> list[str]:
        """Parts of the prompts that candidates are compared on."""
        return part_names("selection", self.prompts.selection, self.prompts.part_size)

    def compared_parts(self, policy: str) -> list[str]:
        """The parts on which a policy is compared with `base`."""
        return self.selection_parts() if self.is_candidate(policy) else self.test_parts()


def load_experiment(config: Mapping[str, Any], source: str) -> Experiment:
    """Validate a configuration.

    Args:
        config: the mapping that Snakemake read.
        source: the file to name in errors.

    Raises:
        UserError: lists every wrong key and value, with what it was and what is allowed.
    """
    try:
        return Experiment.model_validate(dict(config))
    except ValidationError as error:
        raise UserError(f"{source}: this is not a valid experiment\n" + describe(error, Experiment)) from error
