"""The paths of an experiment's artifacts, and which of them each rule reads."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.base.names import parent, variant_and_iteration
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import Scorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.records.accepted_code import ACCEPTED

STORE = "results"
"""The folder that holds the results of all experiments in a working directory."""


@dataclass(frozen=True)
class Paths:
    """The files of one experiment, relative to the working directory."""

    experiment: Experiment

    @property
    def results(self) -> str:
        """The folder of the results."""
        return f"{STORE}/{self.experiment.experiment}"

    @property
    def revisions(self) -> str:
        """The commits of hub repositories whose revision the configuration leaves open."""
        return f"{self.results}/revisions.yaml"

    @property
    def journal(self) -> str:
        """The folder with what judges have answered."""
        return f"{self.results}/judge_journal"

    @property
    def benchmark_journal(self) -> str:
        """The folder with what policies and judges have answered in benchmarks."""
        return f"{self.results}/benchmark_journal"

    @property
    def accepted(self) -> str:
        """The changes of code that `make accept` has let pass."""
        return f"{self.results}/{ACCEPTED}"

    @property
    def contamination(self) -> list[str]:
        """The prompts that were dropped as questions of benchmarks; empty if there are no benchmarks."""
        return [f"{self.results}/contamination.parquet"] if self.experiment.prompts.decontaminate else []

    @property
    def published(self) -> str:
        """The folder that `publish` makes."""
        return f"{self.results}/published"

    def made_by_rule(self, name: str) -> list[str]:
        """The path of a model or dataset `{results}/...`; empty for one that no rule makes."""
        return [name.replace(MADE_BY_RULES, f"{self.results}/")] if name.startswith(MADE_BY_RULES) else []

    def policy_folder(self, policy: str) -> list[str]:
        """The checkpoint of a policy; empty for a base model that no rule makes."""
        if policy == "base":
            return self.made_by_rule(self.experiment.base_model.name)
        return [f"{self.results}/{policy}/checkpoint"]

    def reward_model_folder(self, scorer: Scorer) -> list[str]:
        """The reward model of a scorer; empty unless a rule makes it."""
        return self.made_by_rule(scorer.model) if isinstance(scorer, ModelScorer) else []

    def reference_responses(self, scorer: Scorer, policy: str, part: str) -> list[str]:
        """The responses of `base` that a scorer compares a policy's with; empty for scorers that need none."""
        if policy == "base" or part.startswith("train-") or not scorer.compares_draws:
            return []
        return [f"{self.results}/base/responses/{part}.parquet"]

    def scores(self, policy: str, part: str) -> list[str]:
        """The scores of a part by each combined scorer, in alphabetical order of the names."""
        rewards = self.experiment.rewards
        names = sorted(rewards.scorers) if isinstance(rewards, CombinedSettings) else []
        return [f"{self.results}/{policy}/scores/{name}/{part}.parquet" for name in names]

    def test_parts(self, artifact: str, policy: str) -> list[str]:
        """An artifact of the policy's test parts."""
        return self._parts(artifact, policy, self.experiment.test_parts())

    def judgements(self, policy: str) -> list[str]:
        """The judgements of the policy's test parts; empty if the evaluation has no judge."""
        return self.test_parts("judgements", policy) if self.experiment.evaluation.judge else []

    def compared(self, artifact: str, policy: str, of: str) -> list[str]:
        """An artifact of a policy, in the parts on which the policy `of` is compared with `base`: those of the test
        prompts, or for a candidate of a sweep those of the selection prompts. Empty for judgements without a judge."""
        if artifact == "judgements" and not self.experiment.evaluation.judge:
            return []
        return self._parts(artifact, policy, self.experiment.compared_parts(of))

    def training_parts(self, artifact: str, policy: str) -> list[str]:
        """An artifact of the parent's train parts that the policy is trained on."""
        iteration = variant_and_iteration(policy)[1]
        return self._parts(artifact, parent(policy), self.experiment.train_parts(iteration))

    def validation_part(self, artifact: str, policy: str) -> list[str]:
        """An artifact of the parent's first test part, the validation set of a training; of a candidate, of its first
        selection part."""
        return self._parts(artifact, parent(policy), self.experiment.compared_parts(policy)[:1])

    def training_logprobs(self, policy: str) -> list[str]:
        """The reference's log-probabilities of the training pairs; empty for a loss without a reference."""
        return self.training_parts("logprobs", policy) if self.experiment.loss(policy).needs_reference else []

    def validation_logprobs(self, policy: str) -> list[str]:
        """The reference's log-probabilities of the validation pairs; empty for a loss without a reference."""
        return self.validation_part("logprobs", policy) if self.experiment.loss(policy).needs_reference else []

    def all_test_parts(self, artifact: str) -> list[str]:
        """An artifact of the test parts of all policies."""
        return [path for policy in self.experiment.policies() for path in self.test_parts(artifact, policy)]

    def all_judgements(self) -> list[str]:
        """The judgements of all policies."""
        return [path for policy in self.experiment.policies() for path in self.judgements(policy)]

    def all_benchmarks(self) -> list[str]:
        """The results of all policies in all benchmarks."""
        return [
            f"{self.results}/{policy}/benchmarks/{benchmark}.parquet"
            for benchmark in self.experiment.benchmarks.run
            for policy in self.experiment.policies()
        ]

    @property
    def benchmark_summary(self) -> list[str]:
        """The summary of all benchmarks; empty if there are none."""
        return [f"{self.results}/benchmarks.parquet"] if self.experiment.benchmarks.run else []

    def sweep_comparisons(self, sweep: str) -> list[str]:
        """The comparisons of a sweep's candidates with `base`."""
        found = self.experiment.sweep_points[sweep]
        names = [name for point in found.points for name in found.candidates(point)]
        return [f"{self.results}/{name}-1/comparisons.parquet" for name in names]

    def all_training_pairs(self) -> list[str]:
        """The pairs that any policy is trained on, each file once."""
        trained = self.experiment.trained_policies()
        return list(dict.fromkeys(path for policy in trained for path in self.training_parts("pairs", policy)))

    def _parts(self, artifact: str, policy: str, parts: list[str]) -> list[str]:
        return [f"{self.results}/{policy}/{artifact}/{part}.parquet" for part in parts]
