"""Downloads from the hub ahead of the jobs: for compute nodes without internet, and for revisions to pin."""

from __future__ import annotations

from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.files.full_disks import named_full_disk
from rlhf.datasets.files import open_hub
from rlhf.models.files import refuse_pickled_weights
from rlhf.models.revisions import Kind
from rlhf.prefetch.settings import HubDataset

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")
"""What transformers and vLLM load; not the same weights in other formats, and no code."""


def gated(kind: Kind, name: str) -> str:
    """What to do about a gated repository."""
    address = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
    return (
        f"{name} is gated: accept its licence at {address}, and give your token in the environment: "
        "HF_TOKEN=... snakemake ..."
    )


def fetch_model(name: str, revision: str | None) -> str:
    """Download a model to the cache, where it is not there yet; the commit that it is.

    Raises:
        UserError: there is no such model, it is not for this token, its weights are pickles, or the disk is full.
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
    """Download a dataset to the cache, in the form that it is read in; the commit that it is.

    Raises:
        UserError: there is no such dataset or split.
    """
    return open_hub(dataset.name, dataset.subset, dataset.split, revision)[1]
