"""Duplicate keys in a configuration file: YAML silently keeps the last one."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from rlhf.base.errors import UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_duplicate_keys(path: Path) -> None:
    """Read a configuration file again, only for its keys: Snakemake has already dropped the duplicates.

    Raises:
        UserError: with each duplicate key and the lines of both.
    """
    # Tabs are allowed in JSON, which Snakemake reads too, and change no key and no line.
    root = yaml.compose(path.read_text(encoding="utf-8").expandtabs(), LOADER)
    found = list(_duplicates(root, ()))
    if found:
        raise UserError(
            f"{path}: duplicate keys, of which only the last would count; remove or rename one of each\n"
            + "\n".join(f"  {'.'.join(key)}: lines {first} and {last}" for key, first, last in found)
        )


def _duplicates(node: yaml.Node | None, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Each duplicate key with its sections, and both line numbers, counted from 1."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for name, value in node.value:
            text, line = str(name.value), name.start_mark.line + 1
            if (name.tag, text) in lines:
                yield (*key, text), lines[name.tag, text], line
            lines[name.tag, text] = line
            yield from _duplicates(value, (*key, text))
    elif isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _duplicates(item, (*key, str(place)))
