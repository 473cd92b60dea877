"""The settings of a result that differ from the configuration, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

SHOWN_CHARACTERS = 40
ABSENT = object()


def changed_settings(made: object, asked: object, key: str = "") -> Iterator[str]:
    """Each setting that differs, with both values; the section name `recipe` is omitted."""
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
