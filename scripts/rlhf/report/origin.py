"""Where the results on the page come from: models, settings of each stage, and library versions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rlhf.report.material import Material, Policy

STAGES = {
    "responses": "Sampling",
    "rewards": "Reward",
    "judgements": "Judge",
    "pairs": "Pairs",
    "training": "Training",
    "evaluation": "Evaluation",
}
PER_PART = ("rows",)
"""Keys of a spec that only say which part it was."""


def models(material: Material) -> list[tuple[str, str]]:
    """Role and name, with any revision, of each model and function that the artifacts record."""
    found: dict[tuple[str, str], None] = {}
    for policy in material.policies:
        for kind, role in (("responses", "policy"), ("rewards", "reward model"), ("judgements", "judge")):
            for name in _model_names(policy.provenance.get(kind, {})):
                found[(f"{role} {policy.name}" if kind == "responses" else role, name)] = None
    return list(found)


def versions(material: Material) -> dict[str, str]:
    """Library versions; several are joined by commas if stages ran with different ones."""
    found: dict[str, set[str]] = {}
    for policy in material.policies:
        for origin in policy.provenance.values():
            for library, version in origin.get("versions", {}).items():
                found.setdefault(library, set()).add(version)
    return {library: ", ".join(sorted(found[library])) for library in sorted(found)}


def settings(material: Material) -> list[tuple[str, str]]:
    """Title and indented JSON of each stage's spec; for training, one per policy."""
    return [(title, json.dumps(spec, indent=2, ensure_ascii=False, sort_keys=True))
            for title, spec in _specs(material)]  # fmt: skip


def _specs(material: Material) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind, title in STAGES.items():
        policies = [policy for policy in material.policies if kind in policy.provenance]
        for policy in policies if kind == "training" else policies[:1]:
            spec = policy.provenance[kind].get("spec", {})
            shown = f"{title} of {policy.name}" if kind == "training" else f"{title} ({_source(kind, policy)})"
            yield shown, {key: value for key, value in spec.items() if key not in PER_PART}


def _source(kind: str, policy: Policy) -> str:
    return f"as recorded with the {kind} of {policy.name}"


def _model_names(origin: Mapping[str, Any]) -> Iterator[str]:
    spec = origin.get("spec", {})
    model, scorer = spec.get("model"), spec.get("scorer") or {}
    if model:
        yield _with_revision(model.get("name"), model.get("revision") or origin.get("model_revision"))
    elif scorer.get("kind") == "function":
        yield scorer.get("function", "")
    elif scorer.get("model"):
        yield _with_revision(scorer["model"], scorer.get("revision") or origin.get("model_revision"))


def _with_revision(name: str, revision: str | None) -> str:
    return f"{name} @ {revision}" if revision else name
