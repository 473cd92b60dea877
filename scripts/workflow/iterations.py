"""What each iteration takes from earlier ones: the start, the reference, and whose pairs and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.base.names import parent, split_name, variant_and_iteration
from rlhf.training.settings import IterationSettings
from workflow.variants.examples import check_examples

if TYPE_CHECKING:
    from workflow.experiment import Experiment

MOST_LOGPROB_JOBS = 100_000
"""Over all policies. A plan of more takes hours."""


def policy_of(variant: str, iteration: int) -> str:
    """The policy of iteration 1, 2, ... of a variant; that of iteration 0 is `base`."""
    return f"{variant}-{iteration}" if iteration else "base"


def start_policy(experiment: Experiment, policy: str) -> str:
    """The policy whose weights a training starts from."""
    variant = variant_and_iteration(policy)[0]
    return parent(policy) if experiment.iteration_settings(variant).start == "parent" else "base"


def reference_policy(experiment: Experiment, policy: str) -> str | None:
    """The policy whose log-probabilities are the reference of a training; None for a loss that needs none."""
    if not experiment.loss(policy).needs_reference:
        return None
    variant = variant_and_iteration(policy)[0]
    return parent(policy) if experiment.iteration_settings(variant).reference == "parent" else "base"


def separate_reference(experiment: Experiment, policy: str) -> str | None:
    """The reference, if training starts from another policy; else None."""
    reference = reference_policy(experiment, policy)
    return None if reference == start_policy(experiment, policy) else reference


def earlier_policies(experiment: Experiment, policy: str) -> list[str]:
    """The policies before the parent whose pairs a training learns from too, in the order of the iterations."""
    variant, iteration = variant_and_iteration(policy)
    if experiment.iteration_settings(variant).pairs_of == "current":
        return []
    return [policy_of(variant, number) for number in range(iteration - 1)]


def pooled_policies(experiment: Experiment, policy: str) -> list[str]:
    """The policies whose responses make the pairs of a policy: itself, then `base` and earlier ones if pooled."""
    if policy == "base":
        return [policy]
    variant, iteration = variant_and_iteration(policy)
    numbers = [0] if "base" in experiment.pairs.pool else []
    numbers += range(1, iteration) if "earlier" in experiment.pairs.pool else []
    return [policy, *(policy_of(variant, number) for number in numbers)]


def most_candidates(experiment: Experiment) -> int:
    """The most responses to a prompt that its pairs can be chosen from."""
    paired = {parent(policy) for policy in experiment.trained_policies()}
    return experiment.responses.draws * max(len(pooled_policies(experiment, policy)) for policy in paired)


def responding_policies(experiment: Experiment, policy: str) -> list[str]:
    """The policies whose responses are in the pairs that a training learns from, in the order of the iterations."""
    sources = [parent(policy), *earlier_policies(experiment, policy)]
    found = {member for source in sources for member in pooled_policies(experiment, source)}
    return sorted(found, key=lambda name: 0 if name == "base" else split_name(name)[1])


def training_prompts(experiment: Experiment, policy: str) -> tuple[int, int]:
    """Prompts of the train parts whose pairs a training learns from: those of the parent, and those of `earlier`."""

    def of(source: str) -> int:
        parts = experiment.train_parts(following_iteration(source))
        return sum(rows.stop - rows.start for rows in map(experiment.rows, parts))

    return of(parent(policy)), sum(map(of, earlier_policies(experiment, policy)))


def following_iteration(policy: str) -> int:
    """The iteration that learns from the pairs of a policy first."""
    return 1 if policy == "base" else variant_and_iteration(policy)[1] + 1


def check_iterations(experiment: Experiment) -> None:
    """Raise ValueError for choices that contradict each other, or that make too many jobs."""
    for variant, settings in experiment.variants.items():
        chosen = settings.merged(IterationSettings, experiment.training)
        if "reference" in settings.model_fields_set and not settings.loss.needs_reference:
            raise ValueError(
                f"variants.{variant}.reference: it is {settings.reference!r}, and the loss {settings.loss.name} has no "
                "reference: leave the key out (it ignores that of `training`)"
            )
        if chosen.earlier_share is not None and chosen.pairs_of == "current":
            raise ValueError(
                f"variants.{variant}.earlier_share: it is {chosen.earlier_share}, and with `pairs_of: current` there "
                "are no pairs of earlier iterations; allowed: null, or `pairs_of: accumulated` with it"
            )
    check_examples(experiment)
    _check_logprob_jobs(experiment)
    _check_pool(experiment)
    _check_pairs_per_prompt(experiment)
    _check_chosen_alone(experiment)


def _check_logprob_jobs(experiment: Experiment) -> None:
    """Pairs of all iterations under the parent of each are quadratic in the iterations."""
    sets = {
        (source, reference)
        for policy in experiment.trained_policies()
        if (reference := reference_policy(experiment, policy)) is not None
        for source in (parent(policy), *earlier_policies(experiment, policy))
    }
    jobs = sum(len(experiment.train_parts(following_iteration(source))) for source, _ in sets)
    if jobs > MOST_LOGPROB_JOBS:
        raise ValueError(
            f"training.pairs_of: accumulated pairs under the reference of each iteration are {jobs:,} jobs of "
            f"`compute_logprobs`, and a plan takes at most {MOST_LOGPROB_JOBS:,}. Take `reference: base`, `pairs_of: "
            "current`, fewer iterations, or a larger `prompts.part_size`"
        )


def _check_pool(experiment: Experiment) -> None:
    """Rewards that compare the responses of one policy with each other say nothing about those of another."""
    if len(experiment.pairs.pool) == 1:
        return
    for key, scorer in experiment.scorers().items():
        if key != "evaluation.judge" and scorer.compares_draws:
            raise ValueError(
                f"pairs.pool: it is {experiment.pairs.pool}, and {key} scores a response by comparing it with others "
                "of its own policy, so that scores of two policies cannot be compared; allowed with it: ['parent']"
            )


def _check_pairs_per_prompt(experiment: Experiment) -> None:
    """More pairs than a prompt can have are a mistake: of its draws, or of the choice."""
    pairs, candidates = experiment.pairs, most_candidates(experiment)
    most = pairs.most_pairs(candidates)
    if pairs.per_prompt > max(1, most):
        raise ValueError(
            f"pairs.per_prompt: it is {pairs.per_prompt}, and of {candidates} responses to a prompt "
            f"(`responses.draws`) `choose: {pairs.choose}` makes at most {most}; allowed with it: 1 to {most}"
        )


def _check_chosen_alone(experiment: Experiment) -> None:
    """The pairs of `best` hold ties, and responses that are paired with themselves."""
    for variant, trained in experiment.trained.items():
        loss = trained.settings.loss
        if experiment.pairs.choose == "best" and loss.needs_rejected:
            raise ValueError(
                f"pairs.choose: it is 'best', which is for losses that read the chosen response alone, and "
                f"variants.{variant} has the loss {loss.name}; allowed with it: 'best_worst' and the others, or the "
                "loss sft in every variant"
            )
