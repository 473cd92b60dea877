"""Downloads from the hub ahead of the jobs: for compute nodes without internet, and for revisions to pin."""

from __future__ import annotations

from pathlib import Path

from rlhf.dataset_files import open_hub
from rlhf.errors import UserError
from rlhf.machine.full_disks import named_full_disk
from rlhf.model_files import refuse_pickled_weights
from rlhf.models import ModelSource
from rlhf.revisions import Kind
from rlhf.settings import Settings

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")
"""What transformers and vLLM load; not the same weights in other formats, and no code."""


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
