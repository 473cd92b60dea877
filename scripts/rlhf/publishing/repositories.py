"""The folders that are published, and their repositories on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from rlhf.publishing.settings import PublishSettings

DATASET, MODELS = "dataset", "models"
"""In the published folder: the folder with the dataset, and that with a folder per policy."""
LONGEST_NAME = 96
"""Characters of a repository's name, its owner included."""
NAME = re.compile(r"(?!.*(--|\.\.))[^\W_][\w.-]*(?<![.-])/\w[\w.-]*(?<![.-])", re.ASCII)
RepositoryKind = Literal["dataset", "model"]


def model_folder(policy: str) -> str:
    """Where a policy lies in the published folder."""
    return f"{MODELS}/{policy}"


def kind_of(folder: str) -> RepositoryKind:
    """The kind of a published folder's repository."""
    return "dataset" if folder == DATASET else "model"


def repositories(settings: PublishSettings, experiment: str, policies: Iterable[str]) -> dict[str, str]:
    """Folder in the published one -> name of its repository on the hub; empty without a namespace."""
    if settings.namespace is None:
        return {}
    dataset = f"{settings.namespace}/{experiment}"
    return {DATASET: dataset, **{model_folder(policy): f"{dataset}-{policy}" for policy in policies}}


def published_policies(settings: PublishSettings, trained: Sequence[str]) -> list[str]:
    """The trained policies that are published, in the order of the experiment."""
    return [policy for policy in trained if settings.policies is None or policy in settings.policies]


def check_publishing(settings: PublishSettings, experiment: str, trained: Sequence[str]) -> None:
    """Check what the section `publish` says about policies and names.

    Raises:
        ValueError: with the key, for a policy that is not trained, or a name that the hub does not allow.
    """
    for number, policy in enumerate(settings.policies or ()):
        if policy not in trained:
            raise ValueError(f"publish.policies.{number}: nothing trains {policy!r}; allowed: {', '.join(trained)}")
    if settings.upload:
        for name in repositories(settings, experiment, published_policies(settings, trained)).values():
            if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
                raise ValueError(
                    f"publish.namespace: the hub allows no repository {name!r}: a name has at most {LONGEST_NAME} "
                    "characters, no `--` and no `..`, and no dot or dash at its start or end. Choose another name for "
                    "the experiment, the variant or the namespace"
                )
