"""Scores of responses, and the scoring by a function of the user. Without torch: a function needs none."""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlhf.errors import UserError

ScoringFunction = Callable[[list[str], list[str]], Sequence[float]]


@dataclass(frozen=True)
class Score:
    """The reward of one response, or why it has none."""

    reward: float | None
    invalid: str | None = None
    objectives: list[float] | None = None


def load_function(name: str) -> ScoringFunction:
    """The function `module:function`.

    Raises:
        UserError: there is no such module or function.
    """
    module_name, function_name = name.split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"function {name!r}: {error}. The module must be importable from the working directory or from scripts/."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"function {name!r}: {module.__file__} has no function {function_name!r}")
    return function


def score_by_function(function: ScoringFunction, prompts: Sequence[str], responses: Sequence[str]) -> list[Score]:
    """Call the user's function once, on all rows.

    Raises:
        UserError: it returns no list, another number of scores, or something that is no number.
    """
    returned = function(list(prompts), list(responses))
    if not isinstance(returned, Iterable):
        raise UserError(f"the reward function returned {returned!r}, and not a list of scores")
    scores = list(returned)
    if len(scores) != len(responses):
        raise UserError(f"the reward function returned {len(scores)} scores for {len(responses)} responses")
    for row, score in enumerate(scores):
        if isinstance(score, numbers.Real) and math.isfinite(score):
            continue
        raise UserError(
            f"the reward function returned {score!r} for row {row}, which is no finite number. "
            f"Prompt: {prompts[row][:80]!r}. Response: {responses[row][:80]!r}"
        )
    return [Score(float(score)) for score in scores]
