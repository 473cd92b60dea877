"""The whole configuration of an experiment. Only the workflow reads it: each program gets a `--spec` of its own."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from rlhf.base.errors import UserError
from rlhf.base.names import Rows, part_names, part_rows, variant_and_iteration
from rlhf.base.settings import GivenText, Settings
from rlhf.benchmarks.settings import BenchmarksSettings
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
from rlhf.training.settings import IterationSettings, RecipeSettings, TrainingSettings, check_optimizer
from workflow.hardware import HardwareSettings
from workflow.iterations import check_iterations
from workflow.planning.sizes import check_lengths, check_number_of_parts, check_tiny_prompts
from workflow.reference.errors import describe

MADE_BY_RULES = "{results}/"
WORLD_PROMPTS = "{results}/world/prompts.parquet"
WORLD_POLICY = "{results}/world/policy"
WORLD_REWARD_MODEL = "{results}/world/reward_model"

Section = TypeVar("Section", bound=Settings)
VariantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class VariantSettings(TrainingSettings):
    """A named training recipe: its loss, and the keys of `training` that it overrides."""

    loss: PairLoss
    """The loss and its hyperparameters."""


class EvaluationSettings(IntervalSettings):
    """Who judges, beside the training reward, and how intervals are made."""

    judge: Scorer | None = None
    """An independent judge of the test responses: policies should not be judged by their training reward alone."""
    difficulty_comparisons: list[GivenText] = Field([])
    """Files `results/<experiment>/<policy>/comparisons.parquet` of other experiments on the same test prompts. The
    length-controlled win rate takes the difficulty of each prompt from all policies at hand, and a few of one
    experiment know little of it."""
    kl_to_base: bool = False
    """Measure how far each trained policy has drifted from `base`: the mean of log p(y|x) - log p_base(y|x) over its
    test responses, an estimate of the Kullback-Leibler divergence."""


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
    """Folders with results of other experiments: those of one (`results/other`), or of several (`/data/results`). What
    they made in exactly the same way, with the same inputs and libraries, is linked or copied instead of computed."""
    base_model: ModelSettings = ModelSettings(name="meta-llama/Meta-Llama-3-8B-Instruct")
    """The model that is trained, called `base`."""
    prompts: PromptSettings
    """The dataset of prompts, its train and test splits, and the size of a part."""
    responses: ResponseSettings = ResponseSettings()
    """How responses are sampled."""
    rewards: RewardSettings = ArmoSettings()
    """The reward that chooses the pairs and that training learns from."""
    pairs: PairSettings = PairSettings()
    """How the chosen and the rejected response of a prompt are picked."""
    logprobs: LogprobSettings = LogprobSettings()
    """How log-probabilities are computed, for the reference and in training."""
    training: TrainingSettings = TrainingSettings()
    """Hyperparameters shared by all variants."""
    variants: dict[VariantName, VariantSettings] = Field(min_length=1)
    """Training recipes by name; variant `x` trains the policies `x-1`, `x-2`, ..."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """The independent judge, and the confidence intervals."""
    benchmarks: BenchmarksSettings = BenchmarksSettings()
    """AlpacaEval 2, Arena-Hard, MT-Bench and tasks that every policy is measured on; none unless they are listed."""
    report: ReportSettings = ReportSettings()
    """What the report shows."""
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
        check_lengths(self.prompts, self.responses)
        iterations = {variant: self.iterations(variant) for variant in self.variants}
        check_number_of_parts(self.prompts, iterations)
        check_iterations(self)
        if self.tiny and self.prompts.dataset == WORLD_PROMPTS:
            check_tiny_prompts(self.prompts, self.tiny.prompts)
        if self.responses.engine == "vllm" and (budget := self.hardware.generate_responses.token_budget) != "auto":
            raise ValueError(
                f"hardware.generate_responses.token_budget: it is {budget}, and vLLM batches by a budget of its own; "
                "allowed with `responses.engine: vllm`: auto"
            )
        for variant in self.variants:
            try:
                check_optimizer(self.recipe(variant), self.hardware.train_policy.effective_strategy)
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

    def scorers(self) -> dict[str, Scorer]:
        """All scorers, of the rewards and of the judge, by their keys in the configuration."""
        found: dict[str, Scorer] = {}
        if isinstance(self.rewards, CombinedSettings):
            found = {f"rewards.scorers.{name}.scorer": part.scorer for name, part in self.rewards.scorers.items()}
        elif isinstance(self.rewards, Scorer):
            found = {"rewards": self.rewards}
        return found | ({"evaluation.judge": self.evaluation.judge} if self.evaluation.judge else {})

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

    def iterations(self, variant: str) -> int:
        """The variant's number of iterations; by default that of `training`."""
        settings = self.variants[variant]
        return settings.iterations if "iterations" in settings.model_fields_set else self.training.iterations

    def recipe(self, variant: str) -> RecipeSettings:
        """The hyperparameters of `training`, overridden by those that the variant sets."""
        return self._of_variant(variant, RecipeSettings)

    def iteration_settings(self, variant: str) -> IterationSettings:
        """What its iterations take from earlier ones."""
        return self._of_variant(variant, IterationSettings)

    def _of_variant(self, variant: str, section: type[Section]) -> Section:
        settings = self.variants[variant]
        merged = {
            name: getattr(settings if name in settings.model_fields_set else self.training, name)
            for name in section.model_fields
        }
        return section(**merged)

    def policies(self) -> list[str]:
        """`base`, and every `<variant>-<iteration>`."""
        return ["base", *(f"{v}-{i + 1}" for v in self.variants for i in range(self.iterations(v)))]

    def trained_policies(self) -> list[str]:
        """Every `<variant>-<iteration>`."""
        return self.policies()[1:]

    def loss(self, policy: str) -> PairLoss:
        """The loss that a policy is trained with."""
        return self.variants[variant_and_iteration(policy)[0]].loss

    def rows(self, part: str) -> Rows:
        """The rows of `prompts.parquet` that make up a part."""
        size = self.prompts.train if part.startswith("train-") else self.prompts.test
        return part_rows(part, size, self.prompts.part_size)

    def train_parts(self, iteration: int) -> list[str]:
        """The train parts that iteration 1, 2, ... is trained on."""
        parts = part_names("train", self.prompts.train, self.prompts.part_size)
        share = self.prompts.per_iteration
        return parts if share == "all" else parts[(iteration - 1) * share : iteration * share]

    def test_parts(self) -> list[str]:
        return part_names("test", self.prompts.test, self.prompts.part_size)


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
