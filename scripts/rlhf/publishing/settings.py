"""Settings of publishing."""

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints, model_validator

from rlhf.base.settings import GivenText, Settings
from rlhf.models.source import ModelSource
from rlhf.prefetch.settings import HubDataset


class PublishSettings(Settings):
    """What `snakemake publish` makes of the results. Nothing is published unless that rule is asked for by name."""

    policies: list[GivenText] | None = Field(None, min_length=1)
    """Trained policies to publish, each with the data that it and its parents were trained on; null publishes all."""
    upload: bool = False
    """Whether the folder goes to the hub too, with the token in the environment variable HF_TOKEN."""
    namespace: Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$", max_length=60)] | None = None
    """The hub's user or organization. The dataset is called `<namespace>/<experiment>`, a policy
    `<namespace>/<experiment>-<policy>`."""
    private: bool = True
    """Whether new repositories are seen by the members of the namespace alone. While this is true, an upload stops
    before its first file where a repository is public."""

    @model_validator(mode="after")
    def _check_together(self) -> "PublishSettings":
        if self.upload and self.namespace is None:
            raise ValueError("`upload` needs a `namespace`: the hub's user or organization that gets the repositories")
        return self


class Source(Settings):
    """A model or dataset that the results derive from: from the hub, a local path, or made by a rule."""

    key: str
    """The key that names it in the configuration: `base_model`, `prompts`, `rewards`."""
    model: ModelSource | None = None
    """A model from the hub, or from a local folder."""
    dataset: HubDataset | None = None
    """A dataset from the hub, or a local file."""
    made_here: str | None = None
    """The path among the results of what a rule of the experiment made."""


class PublishSpec(Settings):
    """What `publish` reads."""

    experiment: str
    """Name of the experiment."""
    policies: list[str] = Field(min_length=1)
    """The trained policies that are published."""
    settings: PublishSettings
    """The section `publish`."""
    sources: list[Source]
    """What the results derive from."""
    configuration: dict[str, JsonValue]
    """The experiment's file, without the sections that concern this machine alone."""
