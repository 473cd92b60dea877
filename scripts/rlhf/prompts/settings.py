"""The prompts of an experiment: where they come from, which are kept, and their split."""

from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.settings import LONGEST_CONTEXT, GivenText, Settings
from rlhf.models.source import ModelSource

MOST_PROMPTS = 1_000_000_000
"""Of a split."""


class PromptSettings(Settings):
    """Where the prompts come from, which are kept, and how they are split into parts."""

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, a local Parquet or JSON lines file, or `{results}/...` for one that a rule makes."""
    revision: GivenText | None = None
    """Commit of the hub's dataset repository; null takes the newest and records which one it was."""
    subset: GivenText | None = None
    """Subset of the hub dataset, where it has several (its configuration, in the hub's words)."""
    split: str = Field("train", min_length=1)
    """Split of the hub dataset (local files have one split)."""
    column: str = Field("prompt", min_length=1)
    """Column with the prompt's text."""
    system: str | None = None
    """System prompt that goes before every prompt; null for none."""
    max_tokens: int = Field(1024, ge=1, le=LONGEST_CONTEXT)
    """Longest prompt in tokens, chat template included; longer ones are dropped and counted."""
    train: int = Field(59000, ge=1, le=MOST_PROMPTS)
    """Prompts to train on, from the start of the order by hash. May grow: full parts do not change."""
    test: int = Field(1000, ge=1, le=MOST_PROMPTS)
    """Prompts to evaluate on, from the end of the order by hash. May grow like `train`."""
    part_size: int = Field(7500, ge=1, le=MOST_PROMPTS)
    """Prompts per part: the unit of work of one job, and what a killed job loses."""
    per_iteration: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """Train parts of each iteration: `all` of them, or a number of its own (iteration 2 takes the next ones)."""


class CollectSpec(Settings):
    """What `collect_prompts` reads."""

    seed: int
    """Seed of the order of the prompts."""
    dataset: str | None
    """Hub name or local file; null where the flag --dataset gives a file."""
    dataset_fingerprint: str | None
    """Digest of a local file, so that an exchanged one is noticed."""
    revision: str | None
    """Commit of the hub's dataset repository."""
    subset: str | None = None
    """Subset of the hub dataset, where it has several."""
    split: str
    """Split of the hub dataset."""
    column: str
    """Column with the prompt's text."""
    system: str | None
    """System prompt, or null."""
    max_tokens: int
    """Longest prompt in tokens."""
    model: ModelSource | None
    """The policy whose tokenizer and chat template count; null where --policy gives a folder."""
