"""Keys that a configuration file has twice: YAML takes the last one without a word, and the first is lost."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from rlhf.base.errors import UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_duplicate_keys(path: Path) -> None:
    """Read a configuration file again, for its keys alone: Snakemake has read it, and lost what stands twice.

    Raises:
        UserError: with each key that a section has twice, and the lines of both.
    """
    # Tabs are allowed in JSON, which Snakemake reads too, and change no key and no line.
    root = yaml.compose(path.read_text(encoding="utf-8").expandtabs(), LOADER)
    found = list(_duplicates(root, ()))
    if found:
        raise UserError(
            f"{path}: keys stand twice, of which only the last would count; remove or rename one of each\n"
            + "\n".join(f"  {'.'.join(key)}: in line {first} and in line {last}" for key, first, last in found)
        )


def _duplicates(node: yaml.Node | None, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Each key that is there twice, as the names of its sections and its own, with both lines from 1."""
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
