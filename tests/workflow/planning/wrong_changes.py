"""What tables of wrong configurations share: what is changed, and short ways to write it."""

from typing import Any

from rlhf.rewards.scorer import RewardSettings, Scorer

LONG = "x" * 300
HUGE = 10**30
INFINITE, NAN = float("inf"), float("nan")
Case = tuple[dict[str, Any], list[str]]
"""What is changed of config/micro.yaml, and what is said: the key, what it is, what it may be."""


def scorer(**settings: Any) -> dict[str, Any]:
    return {"rewards": settings}


def two_scorers(**first: Any) -> dict[str, Any]:
    return scorer(kind="combined", scorers={"a": first, "b": {"scorer": {"kind": "armo"}}})


def function(name: object) -> dict[str, Any]:
    return scorer(kind="function", function=name)


def loss(**settings: Any) -> dict[str, Any]:
    return {"variants.rebel.loss": settings}


def imported(**settings: Any) -> dict[str, Any]:
    return {"responses.imported": settings}


def benchmark(**settings: Any) -> dict[str, Any]:
    return {"prompts.decontaminate": [settings]}


SCORERS = ", ".join(map(repr, Scorer.choices()))
REWARDS = ", ".join(map(repr, RewardSettings.choices()))
