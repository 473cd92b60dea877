"""Settings of pairs."""

from operator import not_
from typing import Literal

from pydantic import Field, field_validator, model_validator

from rlhf.base.names import Rows
from rlhf.base.settings import Settings
from rlhf.pairs.imported.settings import ImportedPairSettings

Choice = Literal["best_worst", "best_random", "random", "margin"]
Member = Literal["parent", "base", "earlier"]
DRAWN_CHOICES = ("best_random", "random")


LARGEST_MARGIN = 1e9
"""Upper bound of margins; with a larger one there would be no pairs."""


def require_target_for_margin(choose: Choice, target_margin: float | None) -> None:
    """Raise ValueError if only one of the two is given."""
    if (choose == "margin") != (target_margin is not None):
        raise ValueError("`target_margin` goes with `choose: margin`: give both, or neither")


class PairSettings(Settings):
    """Which two responses of a prompt become its pair."""

    choose: Choice = "best_worst"
    """`best_worst`: the highest against the lowest reward. `best_random`: the highest against a random other one.
    `random`: two at random, as in the analysis of REBEL. `margin`: the highest against the one whose margin is nearest
    to `target_margin`."""
    target_margin: float | None = Field(None, ge=1e-9, le=LARGEST_MARGIN)
    """Target reward margin of `choose: margin`; null for other choices."""
    min_margin: float = Field(0.0, ge=0, le=LARGEST_MARGIN)
    """Minimum reward margin of a pair; pairs below it are dropped and counted. Ties are always dropped."""
    pool: list[Member] = Field(["parent"])
    """Whose responses to a prompt its pair is chosen from, from the second iteration on: those of `parent`, and beside
    them those of `base`, and of the policies of `earlier` iterations. Win probabilities (SPPO) are over all of them."""

    imported: ImportedPairSettings | None = None
    """Import ready-made pairs for the parts of `base`; the other keys of this section are about the pairs of later
    iterations, but `min_margin` holds for imported scores, too."""

    @field_validator("pool")
    @classmethod
    def _check_pool(cls, pool: list[str]) -> list[str]:
        if "parent" not in pool or len(set(pool)) < len(pool):
            raise ValueError("must hold 'parent', and each name once")
        return pool

    @model_validator(mode="after")
    def _check_target(self) -> "PairSettings":
        require_target_for_margin(self.choose, self.target_margin)
        return self


class PairSpec(Settings):
    """What `build_pairs` reads."""

    rows: Rows
    """Rows of the prompts that are the part."""
    choose: Choice
    """How the two responses are chosen."""
    target_margin: float | None
    """Target reward margin (`choose: margin`)."""
    min_margin: float
    """Minimum reward margin."""
    seed: int | None
    """The experiment's seed if responses are chosen at random, else null."""
    pool: list[str] = Field([], exclude_if=not_)
    """Policies whose responses are paired, in the order of --responses, if they are several."""

    @model_validator(mode="after")
    def _check_together(self) -> "PairSpec":
        require_target_for_margin(self.choose, self.target_margin)
        if (self.choose in DRAWN_CHOICES) != (self.seed is not None):
            raise ValueError(f"`seed` goes with the choices {', '.join(DRAWN_CHOICES)} only")
        return self
