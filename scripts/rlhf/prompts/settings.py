"""Settings of the prompts: their source, filters and split."""

from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.settings import LONGEST_CONTEXT, GivenText, Settings
from rlhf.models.source import ModelSource

MOST_PROMPTS = 1_000_000_000
"""Largest size of a split."""


class PromptSettings(Settings):
    """Where the prompts come from, which ones are kept, and how they are split into parts."""

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, a local Parquet or JSON Lines file, or `{results}/...` for a file that a rule makes."""
    revision: GivenText | None = None
    """Commit of the hub dataset; null takes the newest one and records it."""
    subset: GivenText | None = None
    """Subset (configuration) of the hub dataset, if it has several."""
    split: str = Field("train", min_length=1)
    """Split of the hub dataset; ignored for local files."""
    column: str = Field("prompt", min_length=1)
    """Column with the text of the prompts."""
    system: str | None = None
    """System prompt put before every prompt; null for none."""
    max_tokens: int = Field(1024, ge=1, le=LONGEST_CONTEXT)
    """Maximum prompt length in tokens, chat template included; longer prompts are dropped and counted."""
    train: int = Field(59000, ge=1, le=MOST_PROMPTS)
    """Number of training prompts, taken from the start of the hash order. Can be raised later: full parts do not
    change."""
    test: int = Field(1000, ge=1, le=MOST_PROMPTS)
    """Number of test prompts, taken from the end of the hash order. Can be raised later, like `train`."""
    part_size: int = Field(7500, ge=1, le=MOST_PROMPTS)
    """Prompts per part. A part is the work of one job, and what is lost when the job is killed."""
    per_iteration: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """Train parts used by each iteration: `all`, or a number (iteration 2 then takes the next ones)."""


class CollectSpec(Settings):
    """What `collect_prompts` reads."""

    seed: int
    """Seed of the hash order of the prompts."""
    dataset: str | None
    """Hub name or local file; null if --dataset names a file."""
    dataset_fingerprint: str | None
    """Digest of a local file, so that a replaced file is noticed."""
    revision: str | None
    """Commit of the hub dataset."""
    subset: str | None = None
    """Subset of the hub dataset, if it has several."""
    split: str
    """Split of the hub dataset."""
    column: str
    """Column with the text of the prompts."""
    system: str | None
    """System prompt, or null."""
    max_tokens: int
    """Maximum prompt length in tokens."""
    model: ModelSource | None
    """The policy whose tokenizer and chat template are used; null if --base-model names its folder."""
