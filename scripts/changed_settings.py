"""What of a finished job's settings or code is no longer what is asked for, by what its results record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dry_run import PlannedJob
from rlhf.artifacts import ArtifactError, find_provenance

SHOWN_CHARACTERS = 40
ABSENT = object()


def named_changes(job: PlannedJob) -> list[str]:
    """`learning_rate 0.0001 -> 0.0002` for each setting, and `code`; empty where the results say nothing of it."""
    origin = recorded_origin(job)
    if origin is None:
        return []
    changes = list(changed_settings(origin["spec"], json.loads(job.spec)))
    return changes + (["code"] if origin["code"] != job.code else [])


def recorded_origin(job: PlannedJob) -> Mapping[str, Any] | None:
    """What a job's results say of their origin; None where there are none, or they say nothing or cannot be read."""
    for path in job.outputs:
        kept = path / "provenance.json"
        try:
            if path.suffix == ".parquet" and path.is_file():
                return find_provenance(path)
            if kept.is_file():
                origin: Mapping[str, Any] = json.loads(kept.read_text())
                return origin
        except (ArtifactError, ValueError):
            return None
    return None


def changed_settings(made: object, asked: object, key: str = "") -> Iterator[str]:
    """Each setting that differs, by its name without that of the section `recipe`, with both values."""
    if isinstance(made, Mapping) and isinstance(asked, Mapping):
        for name in sorted(made.keys() | asked.keys()):
            inner = name if key in ("", "recipe") else f"{key}.{name}"
            yield from changed_settings(made.get(name, ABSENT), asked.get(name, ABSENT), inner)
    elif made != asked:
        yield f"{key} {_shown(made)} -> {_shown(asked)}"


def _shown(value: object) -> str:
    if value is ABSENT:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
