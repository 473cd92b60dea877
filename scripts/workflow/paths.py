"""The paths of an experiment's artifacts, and which of them each rule reads."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.base.names import parent
from rlhf.rewards.kinds.combined import CombinedSettings
from rlhf.rewards.model_scorer import ModelScorer
from rlhf.rewards.scorer import Scorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.iterations import (
    earlier_policies,
    following_iteration,
    pooled_policies,
    reference_policy,
    separate_reference,
)
from workflow.records.accepted_code import ACCEPTED

STORE = "results"
"""The folder that holds the results of all experiments in a working directory."""
LOGPROBS_OF = {"pairs": "logprobs", "examples": "example_logprobs"}
"""The folder with the log-probabilities of what policies learn from."""


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
        return self.compared("judgements", policy, policy)

    def compared(self, artifact: str, policy: str, of: str) -> list[str]:
        """An artifact of a policy, in the parts on which the policy `of` is compared with `base`: those of the test
        prompts, or for a candidate of a sweep those of the selection prompts. Empty for judgements without a judge."""
        if artifact == "judgements" and not self.experiment.evaluation.judge:
            return []
        return self._parts(artifact, policy, self.experiment.compared_parts(of))

    def pooled_parts(self, artifact: str, policy: str, part: str) -> list[str]:
        """An artifact of a part, of each policy whose responses make the pairs of `policy`; imported ones have none."""
        if policy == "base" and self.experiment.pairs.imported:
            return []
        members = pooled_policies(self.experiment, policy)
        return [path for member in members for path in self._parts(artifact, member, [part])]

    def sampled(self, artifact: str, rows: str) -> list[str]:
        """An artifact of the responses that a file of pairs or examples is made of."""
        _, policy, unit, part = rows.removesuffix(".parquet").rsplit("/", 3)
        return self.pooled_parts(artifact, policy, part) if unit == "pairs" else self._parts(artifact, policy, [part])

    def separate_reference(self, policy: str) -> list[str]:
        """The reference of a training that starts from another policy; empty if it is the start or a hub model."""
        reference = separate_reference(self.experiment, policy)
        return [] if reference is None else self.policy_folder(reference)

    def training_pairs(self, policy: str) -> list[str]:
        """The parent's pairs that the policy is trained on; none for a loss that learns from examples."""
        return self._learned_from("pairs", policy, [parent(policy)])

    def training_examples(self, policy: str) -> list[str]:
        """The parent's examples that the policy is trained on; none for a loss that learns from pairs."""
        return self._learned_from("examples", policy, [parent(policy)])

    def earlier_pairs(self, policy: str) -> list[str]:
        """The pairs of iterations before the parent's that the policy is trained on too."""
        return self._learned_from("pairs", policy, earlier_policies(self.experiment, policy))

    def earlier_examples(self, policy: str) -> list[str]:
        """The examples of iterations before the parent's that the policy is trained on too."""
        return self._learned_from("examples", policy, earlier_policies(self.experiment, policy))

    def validation_pairs(self, policy: str) -> list[str]:
        """The pairs of the parent's first test part; for a candidate of a sweep, of its first selection part."""
        return self._validated_with("pairs", policy)

    def validation_examples(self, policy: str) -> list[str]:
        """The examples of the parent's first test part; for a candidate of a sweep, of its first selection part."""
        return self._validated_with("examples", policy)

    def under_reference(self, rows: list[str], policy: str) -> list[str]:
        """The log-probabilities of pairs or examples under the reference of a training; empty for a loss without."""
        reference = reference_policy(self.experiment, policy)
        return [] if reference is None else [logprobs_path(path, reference) for path in rows]

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
        return list(dict.fromkeys(path for policy in trained for path in self.training_pairs(policy)))

    def all_drifts(self) -> list[str]:
        """The drift of all trained policies; empty if the evaluation does not ask for it."""
        asked = self.experiment.evaluation.kl_to_base
        return [f"{self.results}/{policy}/drift.parquet" for policy in self.experiment.trained_policies() if asked]

    def _learned_from(self, unit: str, policy: str, sources: list[str]) -> list[str]:
        """The train parts of pairs or examples, if the policy learns from those."""
        parts = {source: self.experiment.train_parts(following_iteration(source)) for source in sources}
        found = [path for source in sources for path in self._parts(unit, source, parts[source])]
        return found if unit == self._unit(policy) else []

    def _validated_with(self, unit: str, policy: str) -> list[str]:
        found = self._parts(unit, parent(policy), self.experiment.compared_parts(policy)[:1])
        return found if unit == self._unit(policy) else []

    def _unit(self, policy: str) -> str:
        return "examples" if self.experiment.loss(policy).unpaired else "pairs"

    def _parts(self, artifact: str, policy: str, parts: list[str]) -> list[str]:
        return [f"{self.results}/{policy}/{artifact}/{part}.parquet" for part in parts]


def logprobs_path(rows: str, reference: str) -> str:
    """The log-probabilities of a file of pairs under a policy: `{policy}/logprobs/{part}.parquet` under the policy of
    the pairs itself, `{policy}/logprobs/{reference}/{part}.parquet` under another one. Those of a file of examples lie
    likewise in `{policy}/example_logprobs`."""
    folder, unit, part = rows.rsplit("/", 2)
    under = "" if folder.endswith(f"/{reference}") else f"{reference}/"
    return f"{folder}/{LOGPROBS_OF[unit]}/{under}{part}"
