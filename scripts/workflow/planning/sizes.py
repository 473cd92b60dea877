"""Checks of numbers in the configuration that must fit together, whatever the model."""

from collections.abc import Collection, Mapping

from rlhf.machine.choices import BudgetChoice
from rlhf.responses.settings import ResponseSettings
from workflow.sections import SplitSettings
from workflow.variants.settings import SweepSettings

MOST_PARTS = 10_000
MOST_PART_JOBS = 100_000
"""Over all policies. A plan of 1,000 parts takes seconds, one of 100,000 takes hours."""


def check_lengths(prompts: SplitSettings, responses: ResponseSettings) -> None:
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


def check_sampling_budget(responses: ResponseSettings, budget: BudgetChoice) -> None:
    """Raise ValueError if a token budget is given for an engine that has its own."""
    if responses.engine == "vllm" and budget != "auto":
        raise ValueError(
            f"hardware.generate_responses.token_budget: it is {budget}, and vLLM batches by a budget of its own; "
            "allowed with `responses.engine: vllm`: auto"
        )


def check_tiny_prompts(prompts: SplitSettings, made: int) -> None:
    """Raise ValueError if the splits ask for more prompts than the tiny world makes."""
    asked = prompts.train + prompts.selection + prompts.test
    if asked > made:
        raise ValueError(f"prompts.train: {prompts.sizes} ask for {asked} prompts, and tiny.prompts makes {made}")


def check_sweeps(sweeps: Mapping[str, SweepSettings], prompts: SplitSettings, judges: Collection[str]) -> None:
    """Raise ValueError if the points of a sweep cannot be compared.

    Args:
        judges: who there is to compare them, `reward` and `judge`.
    """
    for name, sweep in sweeps.items():
        if not prompts.selection:
            raise ValueError(
                f"prompts.selection: it is 0, and the sweep {name!r} compares its points on prompts that are neither "
                "trained nor reported on: give their number, as many as `prompts.test` for instance"
            )
        if sweep.judge is not None and sweep.judge not in judges:
            raise ValueError(
                f"sweeps.{name}.judge: it is {sweep.judge!r}, and `evaluation.judge` names none; allowed: reward, null"
            )


def check_number_of_parts(prompts: SplitSettings, iterations: Collection[int], candidates: int) -> None:
    """Raise ValueError if there are too few train parts, or more parts than Snakemake can plan.

    Args:
        iterations: of each variant that is reported.
        candidates: number of policies that sweeps compare.
    """
    size, available, policies = prompts.part_size, -(-prompts.train // prompts.part_size), 1 + sum(iterations)
    parts = available - (-prompts.test // size)
    if parts > MOST_PARTS or parts * policies + -(-prompts.selection // size) * candidates > MOST_PART_JOBS:
        raise ValueError(
            f"prompts.part_size: it is {size}, which makes {parts:,} parts for each of {policies:,} policies; a plan "
            f"takes at most {MOST_PARTS:,} parts, and {MOST_PART_JOBS:,} with those of all policies. Raise it (a part "
            "is the work of one job), or lower `training.iterations`"
        )
    share, most = prompts.per_iteration, max(iterations)
    if share != "all" and most * share > available:
        raise ValueError(
            f"prompts.per_iteration: {most} iterations with {share} train part(s) each need {most * share}, and "
            f"prompts.train makes {available}"
        )
