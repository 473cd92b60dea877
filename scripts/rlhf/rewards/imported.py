"""The rewards of imported responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.responses.imported import Imported
from rlhf.rewards.schema import NO_REWARD


def imported_rewards(prompts: Sequence[Mapping[str, Any]], imported: Imported) -> list[dict[str, Any]]:
    """Rows of `REWARDS`; the reason of a response without a reward is `no_reward`."""
    return [
        {
            "prompt_id": prompt["prompt_id"],
            "draw": draw.draw,
            "reward": draw.reward,
            "invalid": (draw.invalid or NO_REWARD) if draw.reward is None else None,
            "objectives": None,
        }
        for prompt, draws in zip(prompts, imported.draws, strict=True)
        for draw in draws
    ]
