"""The spec of `prefetch`: the hub models and datasets of an experiment."""

from __future__ import annotations

from rlhf.base.settings import Settings
from rlhf.models.source import ModelSource


class HubDataset(Settings):
    """A hub dataset."""

    name: str
    """Hub name."""
    subset: str | None = None
    """One of its subsets, if it has several."""
    split: str | None
    """The split that is read; null where all files are, as they are."""
    file: str | None = None
    """The file of its repository that is read instead of a split."""
    revision: str | None = None
    """Commit of its repository; null uses the newest."""


class PrefetchSpec(Settings):
    """The models and datasets that an experiment loads from the hub."""

    models: dict[str, ModelSource]
    """Configuration key that pins the revision -> model."""
    datasets: dict[str, HubDataset]
    """Configuration key that pins the revision -> dataset."""
