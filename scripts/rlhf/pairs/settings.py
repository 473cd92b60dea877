"""Which two responses of a prompt become its pair."""

from typing import Literal

from pydantic import Field, model_validator

from rlhf.base.names import Rows
from rlhf.base.settings import Settings

Choice = Literal["best_worst", "best_random", "random", "margin"]
DRAWN_CHOICES = ("best_random", "random")


LARGEST_MARGIN = 1e9
"""Of rewards: with a larger one no pair would be left."""


def require_target_for_margin(choose: Choice, target_margin: float | None) -> None:
    """Raise ValueError where only one of the two is there."""
    if (choose == "margin") != (target_margin is not None):
        raise ValueError("`target_margin` goes with `choose: margin`: give both, or neither")


class PairSettings(Settings):
    """Which two responses of a prompt become its pair."""

    choose: Choice = "best_worst"
    """`best_worst`: the highest and the lowest reward. `best_random`: the highest against one of the others at random.
    `random`: two at random, as REBEL's analysis has it. `margin`: the highest against the one whose margin to it is
    nearest to `target_margin`."""
    target_margin: float | None = Field(None, ge=1e-9, le=LARGEST_MARGIN)
    """Reward margin that `choose: margin` looks for; null with the other choices."""
    min_margin: float = Field(0.0, ge=0, le=LARGEST_MARGIN)
    """Smallest reward margin of a pair; pairs below are dropped and counted. A margin of 0 is never a pair."""

    @model_validator(mode="after")
    def _check_target(self) -> "PairSettings":
        require_target_for_margin(self.choose, self.target_margin)
        return self


class PairSpec(Settings):
    """What `build_pairs` reads."""

    rows: Rows
    """The part: rows of the prompts."""
    choose: Choice
    """How the two responses are chosen."""
    target_margin: float | None
    """Reward margin to look for (`margin`)."""
    min_margin: float
    """Smallest reward margin."""
    seed: int | None
    """The experiment's seed, where responses are chosen at random; else null."""

    @model_validator(mode="after")
    def _check_together(self) -> "PairSpec":
        require_target_for_margin(self.choose, self.target_margin)
        if (self.choose in DRAWN_CHOICES) != (self.seed is not None):
            raise ValueError(f"`seed` goes with the choices {', '.join(DRAWN_CHOICES)}, and with no others")
        return self
