"""What `publish` reads: settings, and the results that others need to train the published policies again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rlhf.base.names import parent
from rlhf.prefetch.settings import HubDataset
from rlhf.publishing.repositories import published_policies
from rlhf.publishing.settings import PublishSpec, Source
from rlhf.rewards.model_scorer import ModelScorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.paths import Paths
from workflow.specs.imported import imported_sections
from workflow.specs.models import model_spec

OF_THIS_MACHINE = {"hardware", "reuse", "publish"}
"""Sections that change no result, and may name folders of this machine."""


def publish_spec(experiment: Experiment) -> PublishSpec:
    """The settings of `publish`."""
    return PublishSpec(
        experiment=experiment.experiment,
        policies=policies_to_publish(experiment),
        settings=experiment.publish,
        sources=list(_sources(experiment)),
        configuration=experiment.model_dump(mode="json", exclude_unset=True, exclude=OF_THIS_MACHINE),
    )


def policies_to_publish(experiment: Experiment) -> list[str]:
    """The trained policies that are published."""
    return published_policies(experiment.publish, experiment.trained_policies())


def published_files(paths: Paths) -> list[str]:
    """The Parquet files that are published: of the policies, and of those that they descend from."""
    experiment = paths.experiment
    family = _with_ancestors(policies_to_publish(experiment))
    described = [policy for policy in experiment.policies() if policy in family]
    trained = described[1:]  # the first is `base`
    learned = {policy: _learned_from(paths, policy) for policy in trained}
    rows = [path for files in learned.values() for path in files]
    logprobs = [path for policy, files in learned.items() for path in paths.under_reference(files, policy)]
    tests = [path for policy in described for path in paths.test_parts("responses", policy)]
    sampled = [path for found in rows for path in paths.sampled("responses", found)]
    responses = [*sampled, *tests]
    rewards = [path.replace("/responses/", "/rewards/") for path in responses]
    scores = [score for path in responses for score in paths.scores(Path(path).parts[-3], Path(path).stem)]
    judgements = [path for policy in described for path in paths.judgements(policy)]
    about = [
        f"{paths.results}/{policy}/{name}.parquet"
        for policy in described
        for name in ("evaluation", "comparisons", *(["training"] if policy != "base" else []))
    ]
    made = paths.made_by_rule(experiment.prompts.dataset)
    names = ["prompts", "length_control", *(f"sweeps/{sweep}" for sweep in experiment.sweeps)]
    whole = [f"{paths.results}/{name}.parquet" for name in names] + paths.contamination + made
    return list(
        dict.fromkeys(
            [*whole, *paths.benchmark_summary, *about, *responses, *rewards, *scores, *judgements, *rows, *logprobs]
        )
    )


def published_world(paths: Paths) -> list[str]:
    """The models that the experiment made itself, and what they were made from: nobody has them from elsewhere."""
    experiment = paths.experiment
    names = [experiment.base_model.name, *(model for _, model, _ in experiment.reward_models())]
    made = [path for name in dict.fromkeys(names) for path in paths.made_by_rule(name)]
    return [*(f"{paths.results}/world/{name}" for name in ("tokenizer", "pretrained") if made), *made]


def published_checkpoints(paths: Paths) -> list[str]:
    """The checkpoints of the policies that are published."""
    return [path for policy in policies_to_publish(paths.experiment) for path in paths.policy_folder(policy)]


def _learned_from(paths: Paths, policy: str) -> list[str]:
    """The pairs or examples that a policy was trained on and validated with."""
    pairs = [*paths.training_pairs(policy), *paths.earlier_pairs(policy), *paths.validation_pairs(policy)]
    examples = [*paths.training_examples(policy), *paths.earlier_examples(policy), *paths.validation_examples(policy)]
    return pairs + examples


def _with_ancestors(policies: Iterable[str]) -> set[str]:
    """Policies, and those that they descend from, `base` included."""
    found = {"base"}
    for policy in policies:
        while policy not in found:
            found.add(policy)
            policy = parent(policy)
    return found


def _sources(experiment: Experiment) -> Iterator[Source]:
    base, prompts = experiment.base_model, experiment.prompts
    yield _model("base_model", base.name, base.revision)
    yield _dataset("prompts", prompts.dataset, prompts.subset, prompts.split, prompts.revision)
    for key, section in imported_sections(experiment).items():
        yield _dataset(key, section.dataset, section.subset, section.split, section.revision)
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, ModelScorer):
            yield _model(key, scorer.model, scorer.revision)


def _model(key: str, name: str, revision: str | None) -> Source:
    return Source(key=key, model=model_spec(name, revision), made_here=_made_here(name))


def _dataset(key: str, name: str, subset: str | None, split: str, revision: str | None) -> Source:
    made = _made_here(name)
    found = None if made else HubDataset(name=name, subset=subset, split=split, revision=revision)
    return Source(key=key, dataset=found, made_here=made)


def _made_here(name: str) -> str | None:
    return name.removeprefix(MADE_BY_RULES) if name.startswith(MADE_BY_RULES) else None
