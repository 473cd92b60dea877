"""The upload of the published folder to the hub: checked before anything is sent, and resumed by running it again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf.base.errors import UserError
from rlhf.publishing.repositories import DATASET, kind_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOGGER = logging.getLogger("publish")
TOKEN = "HF_TOKEN"
SECONDS = 60.0
"""Timeout for an answer to a question, not for an upload."""
REPLACED = {"dataset": "*.parquet", "model": "*.safetensors"}
"""Files of a repository that are removed with the upload where the folder has them no longer."""
RESUMES = "What was taken stays there: the same command again sends the rest."


def open_hub(repositories: Mapping[str, str], *, private: bool) -> HfApi:
    """A client with the user's token, once everything that an upload could stop at is checked. Nothing is changed.

    Args:
        repositories: folder in the published one -> name of its repository.
        private: whether the repositories must not be public.

    Raises:
        UserError: there is no token, the hub is switched off or refuses it, the namespace is not the user's, or a
            repository is public.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "publish.upload: HF_HUB_OFFLINE is set in the environment, so nothing can be uploaded: run `snakemake "
            "publish` without it on a machine with internet access, or set `upload: false`"
        )
    token = os.environ.get(TOKEN)
    if not token:
        raise UserError(
            f"publish.upload: the environment variable {TOKEN} is not set: it has to hold a token of the hub that may "
            "write (https://huggingface.co/settings/tokens)"
        )
    hub = HfApi(token=token)
    _check_namespace(hub, next(iter(repositories.values())).split("/")[0])
    for folder, name in repositories.items():
        _check_visibility(hub, folder, name, private=private)
    return hub


def upload(hub: HfApi, folder: Path, repositories: Mapping[str, str], *, private: bool) -> list[str]:
    """Create the repositories that there are not, and send what they do not have yet; returns their addresses.

    Raises:
        UserError: the hub refuses something, or cannot be reached any more.
    """
    addresses = [_create(hub, place, name, private=private) for place, name in repositories.items()]
    for place, name in repositories.items():
        LOGGER.info("uploading %s to %s", folder / place, name)
        with _told(name):
            hub.upload_folder(
                repo_id=name,
                repo_type=kind_of(place),
                folder_path=folder / place,
                commit_message="Results of an experiment" if place == DATASET else "A trained policy",
                delete_patterns=REPLACED[kind_of(place)],
            )
    return addresses


def _create(hub: HfApi, place: str, name: str, *, private: bool) -> str:
    """Create a repository unless there is one, and return its address."""
    with _told(name):
        address = hub.create_repo(name, repo_type=kind_of(place), private=private, exist_ok=True)
    _check_visibility(hub, place, name, private=private)  # an organization may have a default of its own
    return str(address)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise what goes wrong with a repository as UserError."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    except (HfHubHTTPError, HTTPError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{name}: the upload did not complete: {error.__cause__ or error}. {RESUMES}") from error


def _check_namespace(hub: HfApi, namespace: str) -> None:
    """Raise UserError unless the token is one of the namespace or of a member of it."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        who = hub.whoami()
    except (HfHubHTTPError, HTTPError) as error:
        raise UserError(f"publish.upload: the hub does not answer, or refuses the token in {TOKEN}: {error}") from error
    names = [who["name"], *(organization["name"] for organization in who.get("orgs", []))]
    if namespace not in names:
        raise UserError(
            f"publish.namespace: the token in {TOKEN} cannot write to {namespace!r}; allowed: {', '.join(names)}"
        )


def _check_visibility(hub: HfApi, place: str, name: str, *, private: bool) -> None:
    """Raise UserError if a repository is public and must not be; warn if one is private and need not be."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError

    try:
        found = hub.repo_info(name, repo_type=kind_of(place), timeout=SECONDS)
    except RepositoryNotFoundError:
        return
    except (HfHubHTTPError, HTTPError) as error:
        raise UserError(f"{name}: the hub does not say whether it is private: {error}") from error
    if private and not found.private:
        raise UserError(
            f"publish.private: the {kind_of(place)} {name} exists and is public: make it private in its settings on "
            "the hub, set `private: false`, or choose another namespace or name of the experiment. Nothing was "
            "uploaded."
        )
    if not private and found.private:
        LOGGER.warning("%s exists and is private; it stays so until you change it on the hub", name)
