"""Preference pairs: the best and the worst response of a prompt."""

from typing import Literal

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import TOKEN_IDS, Artifact
from rlhf.parts import Rows
from rlhf.settings import Settings


class PairSettings(Settings):
    """Which two responses of a prompt become its pair."""

    choose: Literal["best_worst"] = "best_worst"
    """`best_worst`: the highest and the lowest reward."""
    min_margin: float = Field(0.0, ge=0)
    """Smallest reward margin of a pair; pairs below are dropped and counted. A margin of 0 is never a pair."""


class PairSpec(Settings):
    """What `build_pairs` reads."""

    rows: Rows
    """The part: rows of the prompts."""
    choose: Literal["best_worst"]
    """How the two responses are chosen."""
    min_margin: float
    """Smallest reward margin."""


PAIRS = Artifact(
    "pairs",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("prompt_token_ids", TOKEN_IDS, nullable=False),
            pa.field("chosen_token_ids", TOKEN_IDS, nullable=False),
            pa.field("rejected_token_ids", TOKEN_IDS, nullable=False),
            pa.field("chosen_draw", pa.int32(), nullable=False),
            pa.field("rejected_draw", pa.int32(), nullable=False),
            pa.field("chosen_reward", pa.float32(), nullable=False),
            pa.field("rejected_reward", pa.float32(), nullable=False),
            pa.field("chosen_win_probability", pa.float32(), nullable=False),
            pa.field("rejected_win_probability", pa.float32(), nullable=False),
            pa.field("chosen", pa.string(), nullable=False),
            pa.field("rejected", pa.string(), nullable=False),
        ]
    ),
    key=("prompt_id",),
)
