"""Scoring with the user's function. Does not import torch."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlhf.base.artifacts import LARGEST_FLOAT32
from rlhf.base.errors import UserError, own_line
from rlhf.rewards.function_loading import ScoringFunction
from rlhf.rewards.schema import NO_REWARD
from rlhf.rewards.scorer import Score


def score_by_function(function: ScoringFunction, prompts: Sequence[str], responses: Sequence[str]) -> list[Score]:
    """Call the user's function once, with all prompts and responses. None means no score (`no_reward`).

    Raises:
        UserError: it raises (names its line), does not return a list, or returns the wrong number of scores, or a
            score that is neither a finite number nor None.
    """
    try:
        returned = function(list(prompts), list(responses))
        scores = list(returned) if isinstance(returned, Iterable) else None
    except Exception as error:
        raise UserError(f"the reward function raised {own_line(error, _file_of(function))}") from error
    if scores is None:
        raise UserError(f"the reward function returned {returned!r}, not a list of scores")
    if len(scores) != len(responses):
        raise UserError(f"the reward function returned {len(scores)} scores for {len(responses)} responses")
    for row, score in enumerate(scores):
        if score is None or (isinstance(score, numbers.Real) and abs(score) <= LARGEST_FLOAT32):
            continue
        raise UserError(
            f"the reward function returned {score!r} for row {row}, which is neither a finite float32 number nor None "
            f"(no score). Prompt: {prompts[row][:80]!r}. Response: {responses[row][:80]!r}"
        )
    return [Score(None, NO_REWARD) if score is None else Score(float(score)) for score in scores]


def _file_of(function: ScoringFunction) -> Path:
    """The file that defines a function or callable object."""
    unwrapped = inspect.unwrap(function)
    code = getattr(unwrapped, "__code__", None) or getattr(type(unwrapped).__call__, "__code__", None)
    return Path(code.co_filename if code else __file__)
