"""What a benchmark will ask, before it is run."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.benchmarks.catalogue import CATALOGUE
from rlhf.benchmarks.settings import BenchmarkJudge, BenchmarkTask

MILLION = 1_000_000


@dataclass(frozen=True)
class Asked:
    """Requests and tokens of one policy in one benchmark."""

    answers: int
    """Answers of the policy: one per turn."""
    prompt_tokens: float
    """Tokens that the policy reads."""
    answer_tokens: float
    """Tokens that it writes."""
    judge_requests: int
    judge_tokens: float
    """Tokens that the judge reads and writes."""
    judge_answer_tokens: float
    """Of these, tokens that it writes."""
    money: float
    """In the currency of the prices."""


def expected(name: str, task: BenchmarkTask, judge: BenchmarkJudge | None) -> Asked | None:
    """What a benchmark asks of a policy and its judge; None for one that is not in the catalogue.

    Token counts are means of other policies' answers, cut at `max_tokens`. `limit` is per subset.
    """
    if name not in CATALOGUE:
        return None
    benchmark = CATALOGUE[name]
    subsets = len(task.subsets) if task.subsets else benchmark.subsets
    questions = benchmark.questions * subsets // benchmark.subsets
    if task.limit is not None:
        questions = min(questions, task.limit * subsets)
    requests = questions * benchmark.judge_requests
    read, written = requests * benchmark.judge_prompt_tokens, requests * benchmark.judge_answer_tokens
    prices = (judge.input_price, judge.output_price) if judge else (0.0, 0.0)
    return Asked(
        questions * benchmark.turns,
        questions * benchmark.turns * benchmark.prompt_tokens,
        questions * benchmark.turns * min(benchmark.answer_tokens, task.max_tokens),
        requests,
        read + written,
        written,
        (read * prices[0] + written * prices[1]) / MILLION,
    )
