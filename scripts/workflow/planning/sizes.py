"""Checks of numbers in the configuration that must fit together, whatever the model."""

from collections.abc import Mapping

from rlhf.prompts.settings import PromptSettings
from rlhf.responses.settings import ResponseSettings

MOST_PARTS = 10_000
MOST_PART_JOBS = 100_000
"""Over all policies. A plan of 1,000 parts takes seconds, one of 100,000 takes hours."""


def check_lengths(prompts: PromptSettings, responses: ResponseSettings) -> None:
    """Raise ValueError if prompts and responses of their maximum lengths cannot fit, whatever the model."""
    prompt, response, longest = prompts.max_tokens, responses.max_tokens, responses.max_model_len
    if response < 2:
        raise ValueError(
            f"responses.max_tokens: it is {response}, which is room for the end-of-turn token alone; allowed: 2 and "
            "more"
        )
    if longest is not None and prompt + response > longest:
        raise ValueError(
            f"responses.max_model_len: it is {longest}, and prompts.max_tokens ({prompt}) and responses.max_tokens "
            f"({response}) together are {prompt + response}; allowed: that and more, or null"
        )


def check_tiny_prompts(prompts: PromptSettings, made: int) -> None:
    """Raise ValueError if the splits ask for more prompts than the tiny world makes."""
    train, test = prompts.train, prompts.test
    if train + test > made:
        raise ValueError(
            f"prompts.train: prompts.train ({train}) and prompts.test ({test}) ask for {train + test} prompts, and "
            f"tiny.prompts makes {made}"
        )


def check_number_of_parts(prompts: PromptSettings, iterations: Mapping[str, int]) -> None:
    """Raise ValueError if there are too few train parts, or more parts than Snakemake can plan.

    Args:
        iterations: of each variant.
    """
    size, available, policies = prompts.part_size, -(-prompts.train // prompts.part_size), 1 + sum(iterations.values())
    parts = available - (-prompts.test // size)
    if parts > MOST_PARTS or parts * policies > MOST_PART_JOBS:
        raise ValueError(
            f"prompts.part_size: it is {size}, which makes {parts:,} parts for each of {policies:,} policies; a plan "
            f"takes at most {MOST_PARTS:,} parts, and {MOST_PART_JOBS:,} with those of all policies. Raise it (a part "
            "is the work of one job), or lower `training.iterations`"
        )
    share, most = prompts.per_iteration, max(iterations.values())
    if share != "all" and most * share > available:
        raise ValueError(
            f"prompts.per_iteration: {most} iterations with {share} train part(s) each need {most * share}, and "
            f"prompts.train makes {available}"
        )
