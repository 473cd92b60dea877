"""Licences of what results derive from: what its own card says, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.datasets.folders import is_local
from rlhf.publishing.settings import Source

LOGGER = logging.getLogger("publish")
CARD = "README.md"


def licence(source: Source, commit: str | None) -> dict[str, Any]:
    """`license`, `license_name` and `license_link` of a model or dataset, as far as its card states them.

    The card of a local model is in its folder; that of a hub repository is fetched, or taken from the hub's cache
    where HF_HUB_OFFLINE is set. Where there is none, or none can be fetched, the licence is unknown: an empty mapping.
    """
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    card = _card(source, commit)
    if card is None:
        return {}
    try:
        stated = metadata_load(card) or {}
    except (ValueError, YAMLError) as error:
        LOGGER.warning("%s: its card cannot be read, so its licence is unknown: %s", source.key, error)
        return {}
    found = {name: stated[name] for name in ("license", "license_name", "license_link") if stated.get(name)}
    return found if "license" in found else {}


def licence_in_words(found: Mapping[str, Any]) -> str:
    """`apache-2.0`; the name of one of its own; `unknown`."""
    named = found.get("license_name") or found.get("license", "unknown")
    return ", ".join(map(str, named)) if isinstance(named, list) else str(named)


def _card(source: Source, commit: str | None) -> Path | None:
    where = source.model or source.dataset
    if where is None:  # a rule of the experiment made it
        return None
    if source.model is not None and source.model.fingerprint is not None:
        card = Path(source.model.name) / CARD
        return card if card.is_file() else None
    if source.dataset is not None and is_local(source.dataset.name):
        return None
    return _hub_card(source.key, where.name, "model" if source.model else "dataset", commit)


def _hub_card(key: str, name: str, kind: str, commit: str | None) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        return Path(hf_hub_download(name, CARD, repo_type=kind, revision=commit))
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        LOGGER.warning("%s: the card of %s cannot be fetched, so its licence is unknown: %s", key, name, error)
        return None
