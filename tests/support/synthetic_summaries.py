"""What is said of the policies of a synthetic experiment: evaluations, the length control, benchmarks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf.base.names import split_name
from rlhf.benchmarks.schema import SUMMARY
from rlhf.evaluation.schema import EVALUATION, LENGTH_CONTROL


def level(policy: str) -> tuple[float, float]:
    """Reward and true quality of a policy: the second iteration of simpo and the third of any hack the reward."""
    variant, iteration = split_name(policy)
    gain = {"base": 0.0, "rebel": 0.5, "dpo": 0.35, "simpo": 0.45}.get(variant, 0.3) * iteration**0.7
    return gain, 0.6 + 0.3 * gain - (0.28 * gain if variant == "simpo" else 0)


def rates(policy: str) -> dict[str, tuple[float, float]]:
    """Mean score and win rate of a policy, by judge."""
    reward, quality = level(policy)
    return {
        "reward": (reward, min(0.95, 0.5 + 0.45 * reward)),
        "judge": (quality, min(0.95, 0.5 + 0.9 * (quality - 0.6))),
    }


BEST = {"reward": "rebel-2"}
"""Judge -> the policy that it finds significantly better than all others."""


def write_length_control(folder: Path, trained: Sequence[str], judged: bool) -> Path:
    rows = [
        {
            "judge": judge,
            "policy": policy,
            "prompts": 40,
            "win_rate": rate,
            "win_rate_low": rate - 0.04,
            "win_rate_high": rate + 0.04,
            "length_controlled_win_rate": rate - 0.02,
            "length_controlled_low": rate - 0.07,
            "length_controlled_high": rate + 0.03,
            "difficulty_from": len(trained) - 1,
            "unknown": None,
            "compared": len(trained) + 1,
            "common_prompts": 40,
            "better_than": len(trained) if policy == BEST.get(judge) else 0,
            "length_controlled_better_than": 0,
        }
        for policy in trained
        for judge, (_, rate) in rates(policy).items()
        if judged or judge == "reward"
    ]
    LENGTH_CONTROL.write(folder / "length_control.parquet", rows, {"spec": {}, "versions": {}})
    return folder / "length_control.parquet"


def write_benchmarks(folder: Path, policies: Sequence[str]) -> Path:
    """AlpacaEval 2 with both length controls, MT-Bench, and GSM8K, of which one question has no score."""
    rows: list[dict[str, Any]] = []
    for policy in policies:
        quality = level(policy)[1]
        for benchmark, metric, score in (
            ("alpaca_eval", "score", quality / 3),
            ("alpaca_eval", "length_controlled", quality / 4),
            ("alpaca_eval", "published_length_controlled", quality / 5),
            ("mt_bench", "score", 10 * quality),
            ("gsm8k", "score", 1 - quality),
        ):
            rate_alone, differs = metric.startswith("published"), policy != "base" and metric == "score"
            rows.append(
                {
                    "policy": policy,
                    "benchmark": benchmark,
                    "metric": metric,
                    "questions": 80,
                    "without_score": int(benchmark == "gsm8k"),
                    "score": score,
                    "score_low": None if rate_alone else score - 0.05,
                    "score_high": None if rate_alone else score + 0.05,
                    "difference": -0.021 if differs else None,
                    "difference_low": -0.031 if differs else None,
                    "difference_high": 0.009 if differs else None,
                    "length": 900.0,
                    "tokens": 200.0,
                    "unknown": None,
                }
            )
    SUMMARY.write(folder / "benchmarks.parquet", rows, {"spec": {}, "versions": {}})
    return folder / "benchmarks.parquet"


def write_evaluation(folder: Path, policy: str, judged: bool) -> None:
    rows = []
    for judge, (mean, rate) in rates(policy).items():
        width = 0.0 if policy == "base" else 0.04
        rows.append(
            {
                "policy": policy,
                "judge": judge,
                "mean_reward": mean,
                "win_rate": rate,
                "win_rate_low": rate - width,
                "win_rate_high": rate + width,
                "mean_tokens": 17.25,
                "truncated": 0.0125,
            }
        )
    provenance = {"spec": {"confidence": 0.95}, "versions": {"numpy": "2.4.6"}}
    EVALUATION.write(folder / "evaluation.parquet", rows if judged else rows[:1], provenance)
