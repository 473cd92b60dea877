"""What `prefetch` reads: the models and datasets of the hub that an experiment names."""

from __future__ import annotations

from rlhf.base.settings import Settings
from rlhf.models.source import ModelSource


class HubDataset(Settings):
    """A dataset of the hub."""

    name: str
    """Hub name."""
    subset: str | None = None
    """One of its subsets, where it has several."""
    split: str
    """The split that is read."""
    revision: str | None = None
    """Commit of its repository; null: the newest."""


class PrefetchSpec(Settings):
    """What an experiment loads from the hub."""

    models: dict[str, ModelSource]
    """By the key of the configuration that pins its revision."""
    datasets: dict[str, HubDataset]
    """Likewise."""
