"""The card of a published policy, and what its adapters are loaded onto."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.base.provenance import digest
from rlhf.publishing.cards.facts import Facts
from rlhf.publishing.cards.markdown import UNKNOWN, card, evaluation_table, sources_table, table
from rlhf.publishing.repositories import DATASET, model_folder, repositories
from rlhf.training.schema import TRAINING

ADAPTER = "adapter/adapter_config.json"
VALIDATED = ("validation_loss", "sign_agreement")


LEARNED = {
    "pairs": "preference pairs of responses of",
    "imported": "preference pairs imported for",
    "examples": "desirable and undesirable responses of",
}
"""What a policy learned from, before the name of the parent."""


def model_card(facts: Facts, policy: str, checkpoint: Path, origin: Mapping[str, Any]) -> str:
    """The card's text.

    Args:
        origin: the provenance of the checkpoint.
    """
    spec, parent = origin["spec"], origin["spec"]["lineage"]["parent"]
    uploaded = _repositories(facts)
    base, prompts = facts.source("base_model"), facts.source("prompts")
    lora = spec["recipe"].get("lora") is not None
    front_matter: dict[str, Any] = {
        **({"base_model": base.hub_name} if base.hub_name else {}),
        "datasets": [name for name in (prompts.hub_name, uploaded.get(DATASET)) if name],
        **base.licence,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["rlhf", spec["loss"]["name"], *(["lora"] if lora else [])],
    }
    of = uploaded.get(model_folder(parent)) or parent
    rows, unit = facts.training_rows(origin)
    imported = parent == "base" and "imported" in spec["lineage"]
    what = LEARNED["imported" if imported and unit == "pairs" else unit]
    introduction = (
        f"# {policy}\n\nA policy of the experiment `{facts.spec.experiment}`, trained by `{spec['loss']['name']}` on "
        f"{rows:,} {what} `{of}`, from which it starts."
    )
    return card(
        {name: value for name, value in front_matter.items() if value},
        introduction,
        sources_table(facts),
        evaluation_table(facts, [policy]),
        _training_section(facts, policy, spec),
        _adapter_section(facts, parent) if (checkpoint / ADAPTER).is_file() else "",
        _digests_section(checkpoint, origin),
    )


def adapter_configuration(facts: Facts, checkpoint: Path, origin: Mapping[str, Any]) -> str | None:
    """`adapter_config.json` with the name of the model that the adapters are loaded onto.

    None if there are no adapters, or if that model has no name by which anyone could load it.
    """
    path = checkpoint / ADAPTER
    name, commit = _loadable_parent(facts, origin["spec"]["lineage"]["parent"])
    if not path.is_file() or name is None:
        return None
    found = {**json.loads(path.read_text()), "base_model_name_or_path": name, "revision": commit}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def _loadable_parent(facts: Facts, parent: str) -> tuple[str | None, str | None]:
    """Hub name and commit of the policy that a training starts from."""
    if parent == "base":
        base = facts.source("base_model")
        return base.hub_name, base.commit
    return _repositories(facts).get(model_folder(parent)), None


def _repositories(facts: Facts) -> dict[str, str]:
    spec = facts.spec
    return repositories(spec.settings, spec.experiment, spec.policies) if spec.settings.upload else {}


def _training_section(facts: Facts, policy: str, spec: Mapping[str, Any]) -> str:
    settings = {**spec["loss"], **spec["recipe"], "precision": spec["precision"], "seed": spec["seed"]}
    settings = {("loss" if name == "name" else name): value for name, value in settings.items()}
    rows = TRAINING.read(facts.results / policy / "training.parquet", VALIDATED).to_pylist()
    validated = [(name, _shown(rows[0][name]), _shown(rows[-1][name])) for name in VALIDATED]
    return (
        f"## Training\n\n{table(('setting', 'value'), [(name, _setting(value)) for name, value in settings.items()])}"
        f"\n\n{table(('metric', 'before', 'after'), validated)}"
    )


def _adapter_section(facts: Facts, parent: str) -> str:
    name, _ = _loadable_parent(facts, parent)
    base = facts.source("base_model").source
    elsewhere = f"`{parent}`, which has no name on the hub"
    if parent == "base" and base.made_here:
        elsewhere = f"`{base.made_here}` of the dataset"
    elif parent in facts.spec.policies:
        elsewhere = f"`{parent}`, which is published beside it"
    onto = f"`{name}`" if name else elsewhere
    return (
        f"## Adapters\n\nThe weights here are merged. `adapter/` holds the adapters before that, in PEFT's format, to "
        f"be loaded onto {onto}."
    )


def _digests_section(checkpoint: Path, origin: Mapping[str, Any]) -> str:
    rows = [
        ("the checkpoint as it was trained, which other files name it by", digest(checkpoint)),
        ("code", origin["code"]),
        *((f"input `{name}`", _joined(found)) for name, found in origin["inputs"].items()),
    ]
    versions = ", ".join(f"{library} {version}" for library, version in origin["versions"].items())
    return (
        f"## Digests\n\n{table(('of', 'digest'), rows)}\n\n`provenance.json` states all of it, and `SHA256SUMS` has "
        f"the digest of every file. Trained with {versions}."
    )


def _joined(found: object) -> str:
    return " ".join(map(str, found)) if isinstance(found, list) else str(found)


def _setting(value: object) -> str:
    return "none" if value is None else str(value)


def _shown(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.6g}"
