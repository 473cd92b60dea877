"""What judges will be asked, against counts by hand."""

import pytest

from experiments import MICRO, PUBLISHED, experiment
from workflow.experiment import Experiment
from workflow.planning.forecast import Forecast

LLM = {"kind": "llm", "url": "http://localhost:1/v1", "model": "a-judge"}
RUN = {"alpaca_eval": {}, "arena_hard": {}, "mt_bench": {"limit": 10}, "mmlu": {"limit": 2}, "gsm8k": {}}
JUDGE = {"model": "gpt", "url": "http://localhost:1/v1", "input_price": 10.0, "output_price": 30.0}


def lines(found: Experiment, jobs: list[tuple[str, str, str]]) -> list[str]:
    return Forecast(found, found.hardware.train_policy).judging(jobs)


def test_requests_of_a_pairwise_judge_as_the_reward() -> None:
    """56,000 prompts with 10 pairs of 5 draws in both orders; a test part of a policy also beside the draws of base."""
    found = experiment(PUBLISHED, rewards=LLM)
    train = [("score_responses", "base", part) for part in found.train_parts(1)]
    assert lines(found, train) == ["rewards: about 1,120,000 requests to a-judge."]
    assert lines(found, [("score_responses", "base", "test-000")]) == ["rewards: about 20,000 requests to a-judge."]
    assert lines(found, [("score_responses", "dpo-1", "test-000")]) == ["rewards: about 30,000 requests to a-judge."]
    assert lines(found, [("judge_responses", "dpo-1", "test-000")]) == []


def test_requests_of_a_rating_judge() -> None:
    found = experiment(PUBLISHED, evaluation__judge={**LLM, "mode": "rating"})
    jobs = [("judge_responses", policy, "test-000") for policy in ("base", "dpo-1")]
    assert lines(found, jobs) == ["evaluation.judge: about 10,000 requests to a-judge."]


def test_benchmarks_with_a_paid_judge() -> None:
    """805 + 2 x 500 + 2 x 10 requests for each policy; limits are per subset, of which MMLU has 57."""
    found = experiment(MICRO, benchmarks__run=RUN, benchmarks__judge=JUDGE, benchmarks__budget={"money": 9.5})
    jobs = [("run_benchmark", policy, name) for policy in ("base", "rebel-1") for name in RUN]
    answers, judge = lines(found, jobs)
    assert answers.startswith(f"Benchmarks: about {2 * (805 + 500 + 20 + 114 + 1319):,} answers of ")
    read, written = 805 * 1200 + 1000 * 1900 + 20 * 1100, 805 * 1 + 1000 * 500 + 20 * 150
    assert judge == (
        f"Their judge gpt: about {2 * 1825:,} requests, {2 * (read + written) / 1e6:.1f} million tokens, "
        f"{2 * (read * 10 + written * 30) / 1e6:.2f} at its prices; budget: money 9.5. "
        "What is answered already is not asked again."
    )


def test_a_benchmark_of_unknown_size_is_said() -> None:
    found = experiment(MICRO, benchmarks__run={"gsm8k": {"max_tokens": 10}, "drop": {}})
    (line,) = lines(found, [("run_benchmark", "base", "gsm8k"), ("run_benchmark", "base", "drop")])
    assert line == "Benchmarks: about 1,319 answers of 13,190 tokens, and 1 job(s) of benchmarks of unknown size."


def test_gpu_hours_of_a_benchmark() -> None:
    """Reading 700 tokens and writing 180 tokens for each of 1,319 questions, by a server that starts in two minutes."""
    found = experiment(PUBLISHED)
    seconds = Forecast(found, found.hardware.train_policy).seconds("run_benchmark", "base", "gsm8k")
    layers = 32 * 218_103_808
    read = 2 * layers * 1319 * 700 / 402e12
    assert seconds == pytest.approx(120 + read + 1319 * 180 / 12_500, rel=1e-3)


def test_gpu_hours_of_a_judge_that_the_job_serves() -> None:
    judge = {"model": "meta-llama/Meta-Llama-3-8B-Instruct"}
    served, asked = (
        experiment(PUBLISHED, benchmarks__judge=judge, benchmarks__budget={}),
        experiment(PUBLISHED),
    )
    longer, shorter = (
        Forecast(found, found.hardware.train_policy).seconds("run_benchmark", "base", "mt_bench")
        for found in (served, asked)
    )
    assert longer is not None and shorter is not None
    layers = 32 * 218_103_808
    assert longer - shorter == pytest.approx(120 + 2 * layers * 160 * 1100 / 402e12 + 160 * 150 / 12_500, rel=1e-3)
