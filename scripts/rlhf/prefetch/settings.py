"""The spec of `prefetch`: the hub models and datasets of an experiment."""

from __future__ import annotations

from pydantic import Field

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


class PublishedResults(Settings):
    """A published dataset with the results of an experiment."""

    name: str
    """Hub name, or a local folder."""
    on_hub: bool
    """Whether it is the former."""
    revision: str | None = None
    """Commit of its repository; null uses the newest: what is taken of it is checked, whatever the commit."""


class PrefetchSpec(Settings):
    """The models and datasets that an experiment loads from the hub, and published results that it reuses."""

    models: dict[str, ModelSource]
    """Configuration key that pins the revision -> model."""
    datasets: dict[str, HubDataset]
    """Configuration key that pins the revision -> dataset."""
    results: dict[str, PublishedResults] = Field(default_factory=dict)
    """Configuration key -> published results."""
