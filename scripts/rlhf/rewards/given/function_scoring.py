"""Scoring with the user's function. Does not import torch."""

from __future__ import annotations

import asyncio
import inspect
import numbers
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import LARGEST_FLOAT32
from rlhf.base.errors import UserError, own_line
from rlhf.rewards.given.function_loading import RewardFunction
from rlhf.rewards.given.values import ScoreReader
from rlhf.rewards.scorer import Conversation, Score

SOURCE = "the reward function"


def score_by_function(
    function: RewardFunction, conversations: Sequence[Conversation]
) -> tuple[list[Score], dict[str, Any]]:
    """Call the user's function once, with all conversations; if it is a coroutine function, run it to its end.

    Returns:
        One score per conversation, and the names of its objectives as a fact if it gives any.

    Raises:
        UserError: it raises (names its line), does not return a list, or returns the wrong number of scores, or a
            score that `ScoreReader` refuses (names its row).
    """
    try:
        returned = _call(function, conversations)
        values = list(returned) if isinstance(returned, Iterable) else None
    except Exception as error:
        raise UserError(f"{SOURCE} raised {own_line(error, _file_of(function))}") from error
    if values is None:
        raise UserError(f"{SOURCE} returned {returned!r}, not a list of scores")
    if len(values) != len(conversations):
        raise UserError(f"{SOURCE} returned {len(values)} scores for {len(conversations)} responses")
    reader = ScoreReader(SOURCE, _is_finite, "None")
    pairs = zip(values, conversations, strict=True)
    return [reader.read(value, one, f" for row {row}") for row, (value, one) in enumerate(pairs)], reader.facts


def _call(function: RewardFunction, conversations: Sequence[Conversation]) -> Any:
    if function.takes_records:
        returned = function.call([one.record for one in conversations])
    else:
        returned = function.call([one.prompt for one in conversations], [one.response for one in conversations])
    return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned


async def _awaited(returned: Awaitable[Any]) -> Any:
    return await returned


def _is_finite(value: Any) -> bool:
    """Whether a value is a number of any type that is finite as float32."""
    size: Any = abs(value) if isinstance(value, numbers.Real) else None
    return size is not None and bool(size <= LARGEST_FLOAT32)


def _file_of(function: RewardFunction) -> Path:
    """The file that defines a function or callable object."""
    unwrapped = inspect.unwrap(function.call)
    code = getattr(unwrapped, "__code__", None) or getattr(type(unwrapped).__call__, "__code__", None)
    return Path(code.co_filename if code else __file__)
