"""What reruns after an edit of each configuration key. The tests edit every key and compare the plan with this."""

from fnmatch import fnmatchcase

RERUNS = {
    "seed": "everything",
    "experiment": "everything, in a folder of its own: the results of the old name stay",
    "environments": "everything",
    "reuse": "nothing",
    "base_model.*": "prompts and all that follows",
    "prompts.train": "raised: the new part, and trainings that see more data with all that follows",
    "prompts.test": "raised: the new test part, evaluations, report",
    "prompts.selection": "raised: the new selection part, choices of sweeps; promoted policies if they are others",
    "prompts.part_size": "responses and all that follows",
    "prompts.per_iteration": "all trained policies from training on, report",
    "prompts.*": "prompts and all that follows",
    "responses.imported.rewards": "train rewards of base and all that follows",
    "responses.imported.*": "train responses of base and all that follows",
    "responses.hide.*": "responses and all that follows, benchmarks",
    "responses.*": "responses and all that follows",
    "rewards.scorers.<name>.weight": "combined rewards and all that follows",
    "rewards.scorers.<name>.scorer.*": "scores of that scorer, combined rewards and all that follows",
    "rewards.*": "rewards and all that follows",
    "pairs.pool": "pairs after the first iteration and all that follows",
    "pairs.imported.*": "pairs of base and all that follows",
    "pairs.*": "pairs and all that follows",
    "examples.*": "examples and all that follows",
    "logprobs.*": "log-probabilities, all trained policies, report",
    "training.iterations": "raised: the new iterations, report",
    "training.start": "policies after the first iteration from training on, report",
    "training.reference": "log-probabilities under the reference, policies after the first iteration from training on, "
    "report",
    "training.pairs_of": "log-probabilities under the reference, policies after the first iteration from training on, "
    "report",
    "training.earlier_share": "policies after the first iteration from training on, report",
    "training.equal_weight": "with several pairs per prompt: all trained policies from training on, report",
    "training.*": "all trained policies from training on, report",
    "variants.<name>.iterations": "raised: the new iterations, report",
    "variants.<name>.start": "policies of that variant after its first iteration from training on, report",
    "variants.<name>.reference": "log-probabilities under the reference, policies of that variant after its first "
    "iteration from training on, report",
    "variants.<name>.pairs_of": "log-probabilities under the reference, policies of that variant after its first "
    "iteration from training on, report",
    "variants.<name>.earlier_share": "policies of that variant after its first iteration from training on, report",
    "variants.<name>.equal_weight": "with several pairs per prompt: policies of that variant from training on, report",
    "variants.<name>.*": "policies of that variant from training on, report",
    "sweeps.<name>.*": "candidates that are new, the choice; promoted policies if it is another one; report",
    "evaluation.judge.*": "judgements, evaluations, report",
    "evaluation.difficulty_comparisons": "length control, report",
    "evaluation.kl_to_base": "on: the drift of trained policies, report",
    "evaluation.*": "evaluations, report",
    "benchmarks.run.<name>.*": "that benchmark of all policies, report",
    "benchmarks.judge.key_variable": "nothing",
    "benchmarks.judge.*_price": "nothing",
    "benchmarks.judge.*": "judged benchmarks of all policies, report",
    "benchmarks.budget.*": "nothing",
    "benchmarks.published": "report",
    "report.*": "report",
    "publish.*": "nothing",
    "hardware.*": "nothing",
    "tiny.prompts": "tiny dataset and models, prompts and all that follows",
    "tiny.vocabulary_size": "tiny tokenizer and models, prompts and all that follows",
    "tiny.thoughts": "tiny tokenizer and models, prompts and all that follows",
    "tiny.network.*": "tiny models, prompts and all that follows",
    "tiny.pretraining.*": "tiny models, prompts and all that follows",
    "tiny.mixture.*": "tiny policy, prompts and all that follows",
    "tiny.reward_model.*": "tiny reward model, rewards and all that follows",
}
"""Key pattern -> what an edit reruns; of several patterns that match, the first counts."""


def reruns(key: str) -> str:
    """What an edit of a key reruns, in words.

    Args:
        key: as `rewards.model` or `variants.<name>.loss.eta`.

    Raises:
        KeyError: no pattern matches.
    """
    for pattern, words in RERUNS.items():
        if fnmatchcase(key, pattern):
            return words
    raise KeyError(key)
