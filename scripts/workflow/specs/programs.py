"""The settings that each program gets, taken from the configuration, and the digest of its code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from rlhf.base.errors import UserError
from rlhf.base.names import Rows, parent, variant_and_iteration
from rlhf.base.settings import Settings, canonical_json
from rlhf.base.source_digest import SCRIPTS, source_digest
from rlhf.benchmarks.catalogue import CATALOGUE
from rlhf.benchmarks.settings import BenchmarkSpec, JudgeSpec, SummarySpec
from rlhf.evaluation.settings import EvaluateSpec, LengthControlSpec
from rlhf.logprobs.settings import DriftSpec, LogprobSpec
from rlhf.models.source import ModelSource
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.settings import DRAWN_CHOICES, PairSpec
from rlhf.prompts.settings import Benchmark, BenchmarkSettings, CollectSpec
from rlhf.report.settings import ReportSpec
from rlhf.responses.settings import GenerateSpec, ImportResponsesSpec, ImportSpec, SamplingSettings
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import Scorer
from rlhf.rewards.settings import CombineSpec, ScoreSpec
from rlhf.training.settings import Lineage, TrainSpec
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.iterations import (
    earlier_policies,
    pooled_policies,
    reference_policy,
    responding_policies,
    separate_reference,
    start_policy,
)
from workflow.sources import folder_fingerprint, local_fingerprint
from workflow.specs.imported import import_pairs_spec, imported_from, imported_responses, imported_rewards
from workflow.specs.models import model_spec

MADE_HERE = "this experiment's "
"""What a model card says of what a rule made, which has no name elsewhere."""


def as_json(spec: Settings) -> str:
    """The `--spec` of a program: equal settings are equal strings."""
    return canonical_json(spec.model_dump(mode="json"))


@cache  # a plan asks for it once per job
def program_digest(program: str, modules: tuple[str, ...] = ()) -> str:
    """The digest of a program, of the modules it imports, and of those that its settings name.

    Raises:
        UserError: a module does not exist.
    """
    try:
        return source_digest(SCRIPTS / f"{program}.py", modules)
    except FileNotFoundError as error:
        raise UserError(str(error)) from error


@dataclass(frozen=True)
class Specs:
    """The settings of one experiment's programs.

    Every method raises UserError where a local model or dataset cannot be read.
    """

    experiment: Experiment

    def collect_prompts(self) -> CollectSpec:
        prompts = self.experiment.prompts
        made = prompts.dataset.startswith(MADE_BY_RULES)
        return CollectSpec(
            seed=self.experiment.seed,
            dataset=None if made else prompts.dataset,
            dataset_fingerprint=None if made else local_fingerprint(prompts.dataset),
            revision=prompts.revision,
            subset=prompts.subset,
            split=prompts.split,
            column=prompts.column,
            turns=prompts.turns,
            keep=prompts.keep,
            system=prompts.system,
            template=prompts.template,
            max_tokens=prompts.max_tokens,
            model=self._policy("base"),
            decontaminate=list(map(_benchmark, prompts.decontaminate)),
        )

    def generate_responses(self, policy: str, part: str) -> GenerateSpec:
        return GenerateSpec(
            seed=self.experiment.seed,
            policy=policy,
            model=self._policy(policy),
            rows=self.experiment.rows(part),
            **{name: getattr(self.experiment.responses, name) for name in (*SamplingSettings.model_fields, "hide")},
        )

    def import_responses(self, part: str) -> ImportResponsesSpec:
        own = {name: getattr(self.experiment.responses, name) for name in ("max_tokens", "hide")}
        return ImportResponsesSpec(**imported_responses(self.experiment, part), **own, model=self._policy("base"))

    def import_rewards(self, part: str) -> ImportSpec:
        return ImportSpec(**imported_rewards(self.experiment, part))

    def score_responses(self, part: str, scorer: Scorer) -> ScoreSpec:
        model = model_spec(scorer.model, scorer.revision) if isinstance(scorer, ModelScorer) else None
        return ScoreSpec(rows=self.experiment.rows(part), scorer=scorer, model=model)

    def combine_rewards(self, rewards: CombinedSettings) -> CombineSpec:
        return CombineSpec(weights={name: weighted.weight for name, weighted in rewards.scorers.items()})

    def build_pairs(self, policy: str, part: str) -> PairSpec:
        pairs, pool = self.experiment.pairs, pooled_policies(self.experiment, policy)
        return PairSpec(
            rows=self.experiment.rows(part),
            choose=pairs.choose,
            per_prompt=pairs.per_prompt,
            target_margin=pairs.target_margin,
            min_margin=pairs.min_margin,
            seed=self.experiment.seed if pairs.choose in DRAWN_CHOICES else None,
            pool=pool if len(pool) > 1 else [],
        )

    def import_pairs(self, part: str) -> ImportPairsSpec:
        return import_pairs_spec(self.experiment, part, self._policy("base"))

    def compute_logprobs(self, policy: str) -> LogprobSpec:
        return LogprobSpec(
            model=self._policy(policy),
            precision=self.experiment.logprobs.precision,
            temperature=self.experiment.responses.temperature,
        )

    def train_policy(self, policy: str, point: str | None = None) -> TrainSpec:
        """Settings of a training; `point` is the one whose settings a promoted policy is trained with."""
        experiment, variant = self.experiment, variant_and_iteration(policy)[0]
        lineage = lineage_of(experiment, policy)
        reference = separate_reference(experiment, policy)
        trained = experiment.trained[variant]
        settings = trained.settings if point is None else experiment.sweep_points[str(trained.sweep)].settings_of(point)
        recipe = settings.recipe(experiment.training)
        if experiment.pairs.per_prompt == 1:
            recipe = recipe.model_copy(update={"equal_weight": "prompts"})  # no difference, so no rerun
        return TrainSpec(
            seed=experiment.seed + trained.seed,
            policy=policy,
            lineage=lineage,
            model=self._policy(lineage.first_weights),
            reference_model=None if reference is None else self._policy(reference),
            earlier_share=experiment.iteration_settings(variant).earlier_share if lineage.earlier else None,
            precision=experiment.logprobs.precision,
            temperature=experiment.responses.temperature,
            loss=settings.loss,
            recipe=recipe,
        )

    def measure_drift(self) -> DriftSpec:
        return DriftSpec(
            rows=Rows(start=-self.experiment.prompts.test, stop=0),
            base=self._policy("base"),
            precision=self.experiment.logprobs.precision,
            temperature=self.experiment.responses.temperature,
        )

    def evaluate_policy(self, policy: str) -> EvaluateSpec:
        return EvaluateSpec(policy=policy, **self._intervals())

    def length_control(self) -> LengthControlSpec:
        return LengthControlSpec(**self._intervals())

    def run_benchmark(self, policy: str, benchmark: str) -> BenchmarkSpec:
        task, judge = self.experiment.benchmarks.run[benchmark], self.experiment.benchmarks.judge
        judged = benchmark not in CATALOGUE or CATALOGUE[benchmark].judge_requests > 0
        return BenchmarkSpec(
            benchmark=benchmark,
            policy=policy,
            model=self._policy(policy),
            template=self.experiment.prompts.template,
            precision=self.experiment.responses.precision,
            hide=self.experiment.responses.hide,
            seed=self.experiment.seed,
            task=task,
            data_fingerprint=None if task.data is None else folder_fingerprint(task.data),
            judge=JudgeSpec(
                url=judge.url,
                model=judge.model,
                source=None if judge.url else model_spec(judge.model, judge.revision),
                max_tokens=judge.max_tokens,
            )
            if judged and judge
            else None,
        )

    def summarize_benchmarks(self) -> SummarySpec:
        return SummarySpec(**self._intervals())

    def report(self) -> ReportSpec:
        return ReportSpec(
            experiment=self.experiment.experiment,
            policies=self.experiment.policies(),
            judge_label=self.experiment.report.judge_label if self.experiment.evaluation.judge else None,
            published=self.experiment.benchmarks.published if self.experiment.benchmarks.run else {},
            examples=self.experiment.report.examples,
        )

    def _intervals(self) -> dict[str, Any]:
        """What all programs that compute intervals get."""
        evaluation = self.experiment.evaluation
        return {
            "seed": self.experiment.seed,
            "bootstrap_samples": evaluation.bootstrap_samples,
            "confidence": evaluation.confidence,
        }

    def _policy(self, policy: str) -> ModelSource | None:
        """The policy as a setting; None if a rule makes it, for then it is an input."""
        base = self.experiment.base_model
        return model_spec(base.name, base.revision) if policy == "base" else None


def lineage_of(experiment: Experiment, policy: str) -> Lineage:
    """Where a policy comes from; what is of its parent is not said twice."""
    before, earlier = parent(policy), earlier_policies(experiment, policy)
    start, reference = start_policy(experiment, policy), reference_policy(experiment, policy)
    return Lineage(
        base_model=experiment.base_model.name.replace(MADE_BY_RULES, MADE_HERE),
        parent=before,
        dataset=experiment.prompts.dataset.replace(MADE_BY_RULES, MADE_HERE),
        start=None if start == before else start,
        reference=None if reference == before else reference,
        earlier=earlier,
        imported=imported_from(experiment, [before, *earlier]),
        responses_of=[name for name in responding_policies(experiment, policy) if name not in (before, *earlier)],
    )


def _benchmark(settings: BenchmarkSettings) -> Benchmark:
    """A benchmark with its name, and the fingerprint of a local file."""
    named = {**settings.model_dump(), "name": settings.label}
    return Benchmark(**named, fingerprint=local_fingerprint(settings.dataset))
