"""Downloads from the hub before any job runs, for compute nodes without internet access."""

from __future__ import annotations

from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import named_full_disk
from rlhf.datasets.files import hub_file, hub_folder, open_hub
from rlhf.models.files import refuse_pickled_weights
from rlhf.models.revisions import Kind
from rlhf.prefetch.settings import HubDataset

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")
"""The files that transformers and vLLM load; no weights in other formats, and no code."""


def gated(kind: Kind, name: str) -> str:
    """The message for a gated repository: how to get access."""
    address = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
    return (
        f"{name} is gated: accept its license at {address}, and set your token in the environment: "
        "HF_TOKEN=... snakemake ..."
    )


def fetch_model(name: str, revision: str | None) -> str:
    """Download a model to the hub's cache, unless it is there already, and return its commit.

    Raises:
        UserError: there is no such model, the token has no access, its weights are pickled, or the disk is full.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    refuse_pickled_weights(name, revision)
    try:
        with named_full_disk(Path(constants.HF_HUB_CACHE)):
            folder = snapshot_download(name, revision=revision, allow_patterns=list(MODEL_FILES))
    except GatedRepoError as error:
        raise UserError(gated("model", name)) from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(f"model {name!r} at revision {revision or 'main'!r}: {error}") from error
    return folder.rstrip("/").rsplit("/", 1)[1]


def fetch_dataset(dataset: HubDataset, revision: str | None) -> str:
    """Download a dataset to the cache and prepare it, or download its files or one of them, and return its commit.

    Raises:
        UserError: there is no such dataset, split or file.
    """
    if dataset.file is not None:
        return hub_file(dataset.name, dataset.file, revision)[1]
    if dataset.split is None:
        return hub_folder(dataset.name, revision)[1]
    return open_hub(dataset.name, dataset.subset, dataset.split, revision)[1]
