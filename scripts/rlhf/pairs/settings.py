"""Settings of pairs."""

from math import comb
from operator import not_
from typing import Literal

from pydantic import Field, field_validator, model_validator

from rlhf.base.names import Rows
from rlhf.base.settings import Settings
from rlhf.pairs.imported.settings import ImportedPairSettings

Choice = Literal["best_worst", "best_random", "random", "margin", "all", "best"]
Member = Literal["parent", "base", "earlier"]
DRAWN_CHOICES = ("best_random", "random")
FREE_CHOICES = ("random", "all")
"""Choices whose pairs need not hold the best response."""

LARGEST_MARGIN = 1e9
"""Upper bound of margins; with a larger one there would be no pairs."""


def require_target_for_margin(choose: Choice, target_margin: float | None) -> None:
    """Raise ValueError if only one of the two is given."""
    if (choose == "margin") != (target_margin is not None):
        raise ValueError("`target_margin` goes with `choose: margin`: give both, or neither")


def require_several_for_all(choose: Choice, per_prompt: int) -> None:
    """Raise ValueError for `all` of one pair."""
    if choose == "all" and per_prompt == 1:
        raise ValueError("`choose: all` with `per_prompt: 1` is `best_worst`: choose that, or raise `per_prompt`")


def is_one(number: int) -> bool:
    """Whether a key is at its default, and so not part of the JSON."""
    return number == 1


class PairSettings(Settings):
    """Which responses of a prompt become its pairs."""

    choose: Choice = "best_worst"
    """`best_worst`: the highest against the lowest reward. `best_random`: the highest against a random other one.
    `random`: two at random, as in the analysis of REBEL. `margin`: the highest against the one whose margin is nearest
    to `target_margin`. `all`: any two, the largest margin first; only with `per_prompt` above 1. `best`: as
    `best_worst`, but a prompt whose responses are all equal, or whose only response is left, has its best one too; for
    losses that read the chosen response alone (`sft`)."""
    per_prompt: int = Field(1, ge=1, le=10_000)
    """Pairs per prompt, at most. With several, `best_worst`, `best_random` and `margin` pair the highest reward with as
    many others: the lowest first, at random, or the nearest to `target_margin` first. Each response is computed once,
    however many pairs it is in."""
    target_margin: float | None = Field(None, ge=1e-9, le=LARGEST_MARGIN)
    """Target reward margin of `choose: margin`; null for other choices."""
    min_margin: float = Field(0.0, ge=0, le=LARGEST_MARGIN)
    """Minimum reward margin of a pair; pairs below it are dropped and counted. Ties are always dropped, but for
    `choose: best`."""
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
        require_several_for_all(self.choose, self.per_prompt)
        return self

    def most_pairs(self, candidates: int) -> int:
        """How many pairs there are to choose from, if a prompt has so many candidates."""
        if self.choose == "best":
            return 1
        return comb(candidates, 2) if self.choose in FREE_CHOICES else candidates - 1

    def most_responses(self, candidates: int) -> int:
        """How many responses the pairs of a prompt have between them, at most, if it has so many candidates."""
        if self.choose in FREE_CHOICES:
            return max(2, min(2 * self.per_prompt, candidates))
        return max(2, min(1 + self.per_prompt, candidates))


class PairSpec(Settings):
    """What `build_pairs` reads."""

    rows: Rows
    """Rows of the prompts that are the part."""
    choose: Choice
    """How the responses are chosen."""
    per_prompt: int = Field(1, ge=1, exclude_if=is_one)
    """Pairs per prompt, at most."""
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
        require_several_for_all(self.choose, self.per_prompt)
        if (self.choose in DRAWN_CHOICES) != (self.seed is not None):
            raise ValueError(f"`seed` goes with the choices {', '.join(DRAWN_CHOICES)} only")
        return self

    @property
    def fewest_candidates(self) -> int:
        """Candidates that a prompt needs for a pair."""
        return 1 if self.choose == "best" else 2
