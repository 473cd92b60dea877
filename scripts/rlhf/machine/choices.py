"""What may be chosen of how a machine is used: the strategy of a training, its tracker, the token budget."""

from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.errors import UserError

Strategy = Literal["single", "ddp", "zero3", "fsdp2"]
Activations = Literal["keep", "recompute"]
Tracker = Literal["none", "tensorboard", "wandb", "trackio"]
BudgetChoice = Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000_000)]


def check_strategy(strategy: Strategy, processes: int, *, cpu: bool) -> None:
    """Raise UserError where strategy, number of processes and device do not go together."""
    if (strategy == "single") != (processes == 1):
        raise UserError(f"strategy {strategy} with {processes} process(es): `single` is one process, others are more")
    if strategy == "fsdp2" and cpu:
        raise UserError("strategy fsdp2 needs GPUs: on CPUs its processes would train apart; take ddp or zero3")
