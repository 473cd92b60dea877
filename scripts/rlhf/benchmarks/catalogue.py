"""What is known of the common benchmarks: how their scores read, and how much they ask.

Questions and requests are those of EvalScope 1.14.1 and alpaca_eval 0.6.6; tokens are rough means, for the plan.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """A benchmark and its size."""

    title: str
    """Its name on pages."""
    repository: str | None
    """Hub dataset with the questions; None where it is on ModelScope alone (see `MODELSCOPE`)."""
    questions: int
    subsets: int = 1
    """Subsets that the questions are spread over."""
    turns: int = 1
    """Turns of a question: the policy answers each."""
    judge_requests: int = 0
    """Requests to the judge per question; 0 for known answers."""
    prompt_tokens: int = 60
    """Mean tokens of a request to the policy, worked examples included."""
    answer_tokens: int = 400
    """Mean tokens of an answer."""
    judge_prompt_tokens: int = 0
    """Mean tokens that the judge reads per request."""
    judge_answer_tokens: int = 0
    """Mean tokens that it writes per request."""
    rating: bool = False
    """Whether the score is a rating of 1 to 10; others are shares, shown in percent."""


ALPACA_EVAL = "alpaca_eval"
"""AlpacaEval 2 runs by the alpaca_eval package, all others by EvalScope."""
CATALOGUE = {
    ALPACA_EVAL: Benchmark(
        "AlpacaEval 2",
        "tatsu-lab/alpaca_eval",
        805,
        judge_requests=1,
        prompt_tokens=50,
        judge_prompt_tokens=1200,
        judge_answer_tokens=1,
    ),
    "arena_hard": Benchmark(
        "Arena-Hard",
        None,
        500,
        judge_requests=2,
        prompt_tokens=120,
        answer_tokens=600,
        judge_prompt_tokens=1900,
        judge_answer_tokens=500,
    ),
    "mt_bench": Benchmark(
        "MT-Bench",
        "HuggingFaceH4/mt_bench_prompts",
        80,
        turns=2,
        judge_requests=2,
        prompt_tokens=300,
        judge_prompt_tokens=1100,
        judge_answer_tokens=150,
        rating=True,
    ),
    "mmlu": Benchmark("MMLU", "cais/mmlu", 14042, subsets=57, prompt_tokens=800, answer_tokens=150),
    "gsm8k": Benchmark("GSM8K", "openai/gsm8k", 1319, prompt_tokens=700, answer_tokens=180),
    "ifeval": Benchmark("IFEval", "google/IFEval", 541),
    "truthful_qa": Benchmark("TruthfulQA", "truthfulqa/truthful_qa", 817, prompt_tokens=150, answer_tokens=20),
}
"""By the name that EvalScope has for it."""
MODELSCOPE = {"arena_hard": "AI-ModelScope/arena-hard-auto-v0.1"}
"""ModelScope's dataset of benchmarks that are not on the Hugging Face hub in the form that EvalScope reads."""


def title(name: str) -> str:
    """The name of a benchmark on pages."""
    return CATALOGUE[name].title if name in CATALOGUE else name


def repository_of(name: str) -> str | None:
    """The hub dataset with a benchmark's questions; None if it is not known, or there is none."""
    return CATALOGUE[name].repository if name in CATALOGUE else None


def suite(name: str) -> str:
    """The module that runs a benchmark."""
    return "rlhf.benchmarks.alpaca_suite" if name == ALPACA_EVAL else "rlhf.benchmarks.evalscope_suite"
