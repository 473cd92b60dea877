"""Choices of how a machine is used: token budget, and the strategy, activations and tracker of a training."""

from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.errors import UserError

Strategy = Literal["single", "ddp", "zero3", "fsdp2"]
Activations = Literal["keep", "recompute"]
Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
BudgetChoice = Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000_000)]
DEFAULT_BUDGET = 16_384
"""Tokens that a token budget of `auto` means where memory is not known: on a CPU, or for an unknown architecture."""


def budget_or_default(asked: BudgetChoice) -> int:
    """The token budget in tokens, if it is not computed from the memory of a GPU."""
    return DEFAULT_BUDGET if asked == "auto" else asked


def check_strategy(strategy: Strategy, processes: int, *, cpu: bool) -> None:
    """Raise UserError if strategy, number of processes and device do not fit together."""
    if (strategy == "single") != (processes == 1):
        raise UserError(
            f"strategy {strategy} with {processes} process(es): `single` is for one process, the others for several"
        )
    if strategy == "fsdp2" and cpu:
        raise UserError(
            "strategy fsdp2 needs GPUs: on CPUs its processes would train without synchronizing; use ddp or zero3"
        )
