"""What programs read of a dataset."""

from __future__ import annotations

from operator import not_
from typing import Any

from pydantic import Field

from rlhf.base.settings import Settings
from rlhf.datasets.conversations import Turns


class DatasetSpec(Settings):
    """Where the rows are, beside the name of the dataset, and how the prompts in them are read."""

    dataset_fingerprint: str | None
    """Digest of a local file or folder, so that a replaced one is noticed."""
    revision: str | None
    """Commit of the hub dataset."""
    subset: str | None = None
    """Subset of the hub dataset or folder, if it has several."""
    split: str
    """Split of the hub dataset or folder."""
    column: str
    """Column with the prompts."""
    turns: Turns = Field("role_content", exclude_if=lambda turns: turns == "role_content")
    """The keys of a turn, in columns of conversations."""
    template: dict[str, Any] = Field({}, exclude_if=not_)
    """Options of the chat template, which are part of what a prompt is."""
