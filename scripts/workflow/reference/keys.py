"""The reference of all configuration keys (Markdown), and the JSON schema for editors, from the settings classes."""

import json
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf
from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rlhf.base.choices import Choice
from rlhf.training.loss import PairLoss
from workflow.experiment import Experiment
from workflow.reference.reruns import reruns

HEADER = """# Configuration

<!-- Made by `make config-reference` from the settings classes in `scripts/rlhf/`; do not edit. -->

One file is one experiment: `snakemake --configfile config/<file>.yaml`; without the flag it is `config.yaml`, the
embedded tiny experiment. A file stands on its own: what it leaves out has the default below (the published
hyperparameters), never another experiment's value. A wrong key or value stops the run before the first job.

Editors that know JSON schemas complete and check these files with the line
`# yaml-language-server: $schema=schema.json` at their top.

The keys of the losses are in [losses.md](losses.md), those of the section `tiny` in [tiny.md](tiny.md). A section with
a `kind` has the same keys wherever that kind is allowed, and is listed once, under `rewards`: an edit of the judge's
keys (`evaluation.judge`) reruns judgements, evaluations and the report, an edit of one of several scorers
(`rewards.scorers.<name>.scorer`) the scores of that scorer, the combined rewards and all that follows.

*All that follows* includes the trained policies, their evaluations and the report. The tests edit every key after a
finished run and compare Snakemake's plan with the last column.

"""


PART_HEADER = """# {title}

<!-- Made by `make config-reference` from the settings classes in `scripts/rlhf/`; do not edit. -->

{about}

"""
PARTS = {
    "losses.md": (
        "Losses",
        "The keys of `variants.<name>.loss`, by the loss's name. A pair's margin is positive where the policy\n"
        "prefers the chosen response; `sign_agreement` in `training.parquet` is the share of such validation pairs.",
    ),
    "tiny.md": ("The tiny world", "The keys of the section `tiny`, of experiments that make their own models."),
}
LOSS = "variants.<name>.loss"
OF_EVERY_LOSS = {name: field for name, field in PairLoss.model_fields.items() if name != PairLoss.key}
"""Keys that are listed once."""


def reference() -> dict[str, str]:
    """The text of each Markdown file in `config/`, by its name."""
    sections = {
        "README.md": [_section("Top level", Experiment, prefix="")],
        "losses.md": ["\n".join(["## Every loss of two responses", "", *_table(OF_EVERY_LOSS, LOSS), ""])],
    }
    seen: set[type[BaseModel]] = set()
    for prefix, model in _sections(Experiment, ""):
        if model not in seen or prefix == "variants.<name>":
            sections.setdefault(_file_of(prefix), []).append(_section(f"`{prefix}`", model, prefix))
        seen.add(model)
    headers = {name: PART_HEADER.format(title=title, about=about) for name, (title, about) in PARTS.items()}
    return {name: {"README.md": HEADER, **headers}[name] + "\n".join(found) for name, found in sections.items()}


def _file_of(prefix: str) -> str:
    """Which file has the section."""
    if prefix.split(".")[0] == "tiny":
        return "tiny.md"
    return "losses.md" if prefix.endswith(".loss") else "README.md"


def schema() -> str:
    """The text of `config/schema.json`, on one line: it is read by editors alone."""
    return json.dumps(Experiment.model_json_schema(), ensure_ascii=False) + "\n"


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The nested settings classes in the order of the file, each with the keys that lead to it."""
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        path = f"{key}.<name>" if get_origin(field.annotation) is dict else key
        found = _models_in(field.annotation)
        yield from ((path, nested) for nested in found)
        for nested in found:
            yield from _sections(nested, path)


def _section(title: str, model: type[BaseModel], prefix: str) -> str:
    tag = _tag(model)
    heading = f"## {title}" + (f" ({tag})" if tag else "")
    about, fields = [_one_line(model.__doc__ or ""), ""], model.model_fields
    if issubclass(model, PairLoss):
        about += [f"Its margin: {model.margin_meaning}.", ""]
        fields = {name: field for name, field in fields.items() if name not in OF_EVERY_LOSS}
    return "\n".join([heading, *about, *_table(fields, prefix), ""])


def _table(fields: Mapping[str, FieldInfo], prefix: str) -> list[str]:
    rows = [_row(name, field, prefix) for name, field in fields.items()]
    return ["| key | type | default | meaning | an edit reruns |", "| --- | --- | --- | --- | --- |", *rows]


def _row(name: str, field: FieldInfo, prefix: str) -> str:
    cells = [
        f"`{name}`",
        (_names(field) or _type_name(field.annotation)) + _bounds(field),
        _default(field),
        field.description or "",
        "see there" if _models_in(field.annotation) else reruns(f"{prefix}.{name}" if prefix else name),
    ]
    return "| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _names(field: FieldInfo) -> str:
    """The names that a field chooses from, where it does."""
    schemas = [item.json_schema for item in field.metadata if isinstance(item, WithJsonSchema)]
    return " or ".join(f"`{name}`" for schema in schemas for name in (schema or {}).get("enum", []))


def _tag(model: type[BaseModel]) -> str:
    """`kind: armo` for a class that is told from others by such a key."""
    for key in ("kind", "name"):
        field = model.model_fields.get(key)
        if field is not None and get_origin(field.annotation) is Literal:
            return f"`{key}: {get_args(field.annotation)[0]}`"
    return ""


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(argument) for argument in arguments))
    if origin is dict:
        return "names with sections"
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if hasattr(annotation, "__metadata__"):
        return _type_name(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    return names[annotation]


def _bounds(field: FieldInfo) -> str:
    signs = {
        Ge: ("ge", "≥"),
        Gt: ("gt", ">"),
        Le: ("le", "≤"),
        Lt: ("lt", "<"),
        MultipleOf: ("multiple_of", "multiple of"),
    }
    shown = [
        f"{signs[type(item)][1]} {getattr(item, signs[type(item)][0])}"
        for item in field.metadata
        if type(item) in signs
    ]
    if get_origin(field.annotation) is dict:
        shown += [f"at least {item.min_length}" for item in field.metadata if isinstance(item, MinLen)]
    return f", {', '.join(shown)}" if shown else ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is list:
        return "`[]`"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        values = field.default.model_dump(exclude_unset=True, mode="json")
        return f"`{json.dumps(values)}`" if values else "its defaults"
    return f"`{json.dumps(field.default)}`"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Choice) and annotation.stands_for_all():
        return list(annotation.choices().values())
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _one_line(text: str) -> str:
    return " ".join(text.split())
