"""The memory request of CPU jobs, from the size of the experiment.

Every prompt and response is assumed to be as long as the configuration allows. The cost per row was measured with
`tests/benchmarks/memory_at_scale.py` and rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rlhf.base.names import parent
from workflow.experiment import Experiment
from workflow.iterations import pooled_policies

PROGRAM = 600e6
"""Bytes of a program with its libraries."""
TOKEN = 8
"""Bytes of a token in a file: four of its id, about four of its text."""
ROW = 200
"""Bytes of all other columns."""
PYTHON_TOKEN = 40
"""Bytes of a token id as a Python object."""
PYTHON_ROW = 1500
"""Bytes of a row of scores as Python objects."""
DRAW = 300
"""Bytes of a scored response, without its text, while it is put in order."""
DUEL = 40
"""Bytes of a comparison of two responses."""
COMPARISON = 400
"""Bytes of a comparison, while all of them are put in order."""
FIT = 2000
"""Bytes of a comparison in the regressions of the length control."""
SCORE = 8
"""Bytes of a number that a figure shows."""
PROMPT_IN_ORDER = 300
"""Bytes of a prompt whose text is on disk."""
BENCHMARK = 150e6
"""Bytes of the questions of a benchmark: 115 MB were measured for 1,465 of 100 words."""
MOST_QUESTIONS, ANSWERED = 14_042, 5_000
"""Questions of a benchmark (MMLU's), and bytes of one with its answer while a file is read."""
BUCKETS = 16
"""Of the prompts that are put in order at a time, a share."""
TINY_WORLD = 4e9
"""Bytes of the programs that make the tiny world."""
STEP_MB = 500
"""Requests are multiples of this."""


def job_mb(experiment: Experiment, rule: str) -> int:
    """The memory request of a rule in megabytes: that of `hardware`, or else computed from the configuration."""
    given: int | None = getattr(experiment.hardware, rule).mem_mb
    return STEP_MB * math.ceil(NEEDED[rule](experiment) / (STEP_MB * 1e6)) if given is None else given


def _prompt(experiment: Experiment) -> int:
    return TOKEN * experiment.prompts.max_tokens + ROW


def _part(experiment: Experiment) -> int:
    """Bytes of a part's responses in memory, with its prompts."""
    responses = experiment.responses
    return _rows(experiment) * (TOKEN * responses.max_tokens + ROW) + _part_prompts(experiment) * _prompt(experiment)


def _part_prompts(experiment: Experiment) -> int:
    prompts = experiment.prompts
    return min(prompts.part_size, max(prompts.train, prompts.selection, prompts.test))


def _rows(experiment: Experiment) -> int:
    """Responses of a part."""
    return _part_prompts(experiment) * experiment.responses.draws


def _test_draws(experiment: Experiment) -> int:
    return experiment.prompts.test * experiment.responses.draws


def _compared_prompts(experiment: Experiment) -> int:
    """Prompts on which a policy is compared with `base`, at most."""
    return max(experiment.prompts.test, experiment.prompts.selection)


def _collect_prompts(experiment: Experiment) -> float:
    # As often as the splits need them, there may be others; the dataset's own text is a memory map.
    prompts = 2 * (experiment.prompts.train + experiment.prompts.selection + experiment.prompts.test)
    benchmarks = BENCHMARK * len(experiment.prompts.decontaminate)
    return PROGRAM + benchmarks + prompts * (PROMPT_IN_ORDER + 4 * _prompt(experiment) / BUCKETS)


def _import_responses(experiment: Experiment) -> float:
    return PROGRAM + 2 * _part(experiment) + _rows(experiment) * PYTHON_TOKEN * experiment.responses.max_tokens


def _import_pairs(experiment: Experiment) -> float:
    # Two responses of each prompt as Python objects, and once more as arrays.
    responses = 2 * _part_prompts(experiment) * experiment.responses.max_tokens
    return PROGRAM + _part_prompts(experiment) * 2 * _prompt(experiment) + responses * (TOKEN + PYTHON_TOKEN)


def _score_rows(experiment: Experiment) -> float:
    return PROGRAM + _part_prompts(experiment) * _prompt(experiment) + 4 * _rows(experiment) * PYTHON_ROW


def _build_pairs(experiment: Experiment) -> float:
    paired = {parent(policy) for policy in experiment.trained_policies()}
    largest = max(len(pooled_policies(experiment, policy)) for policy in paired)
    return PROGRAM + largest * (2 * _part(experiment) + _rows(experiment) * PYTHON_ROW) + _further_pairs(experiment)


def _further_pairs(experiment: Experiment) -> float:
    """Bytes of the second and further pairs of the prompts of a part, each with its prompt and both responses."""
    response = TOKEN * experiment.responses.max_tokens + ROW
    further = experiment.pairs.per_prompt - 1
    return further * _part_prompts(experiment) * (_prompt(experiment) + 2 * response)


def _build_examples(experiment: Experiment) -> float:
    # Each response is written twice: as its own, and beside another prompt.
    return PROGRAM + 3 * _part(experiment) + _rows(experiment) * (_prompt(experiment) + PYTHON_ROW)


def _evaluate_policy(experiment: Experiment) -> float:
    draws = _compared_prompts(experiment) * experiment.responses.draws
    return PROGRAM + 2 * _part(experiment) + draws * DRAW + draws * experiment.responses.draws * DUEL


def _length_control(experiment: Experiment) -> float:
    policies = len(experiment.trained_policies()) + len(experiment.evaluation.difficulty_comparisons)
    return PROGRAM + policies * _test_draws(experiment) * COMPARISON + _test_draws(experiment) * FIT


def _choose_variants(experiment: Experiment) -> float:
    draws = experiment.prompts.selection * experiment.responses.draws
    return PROGRAM + len(experiment.candidates()) * draws * COMPARISON


def _summarize_benchmarks(experiment: Experiment) -> float:
    questions = MOST_QUESTIONS * len(experiment.benchmarks.run) * len(experiment.policies())
    return PROGRAM + questions * ANSWERED


def _report(experiment: Experiment) -> float:
    prompts, policies = experiment.prompts, len(experiment.policies())
    numbers = policies * (2 * _test_draws(experiment) + prompts.train + 8 * prompts.test)
    return (
        PROGRAM + 2 * _part(experiment) + _test_draws(experiment) * DRAW + numbers * SCORE + prompts.train * 3 * SCORE
    )


NEEDED: dict[str, Callable[[Experiment], float]] = {
    "collect_prompts": _collect_prompts,
    "import_responses": _import_responses,
    "import_rewards": _score_rows,
    "combine_rewards": _score_rows,
    "build_pairs": _build_pairs,
    "build_examples": _build_examples,
    "import_pairs": _import_pairs,
    "evaluate_policy": _evaluate_policy,
    "length_control": _length_control,
    "choose_variants": _choose_variants,
    "summarize_benchmarks": _summarize_benchmarks,
    "report": _report,
    "tiny": lambda experiment: TINY_WORLD,
}
"""Bytes of a job, by rule."""
