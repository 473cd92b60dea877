"""Validation errors as sentences: the key, what it was, and what it may be."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SHOWN_CHARACTERS = 60


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """One line per wrong key: `key: what is wrong (it is <value>)`, with the nearest allowed key for a wrong one."""
    return "\n".join(f"  {_line(details, model)}" for details in error.errors())


def _line(details: ErrorDetails, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in details["loc"])
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        return f"{key}: there is no such key. {_allowed_keys(details['loc'], model)}"
    if kind == "missing":
        return f"{key}: this key is missing"
    message = details["msg"].removeprefix("Value error, ")
    if not key:
        return message
    message = message[:1].lower() + message[1:]
    return f"{key}: {message} (it is {_shown(value)}){_hint(kind, value)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _hint(kind: str, value: object) -> str:
    if kind in ("float_type", "int_type") and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f". YAML reads this as text; write {number!r} as a number, with point and sign (1.0e-6, 1.0e+6)"
    return ""


def _allowed_keys(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    fields = _fields_at(location[:-1], model)
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return (f"Did you mean `{near[0]}`? " if near else "") + "Allowed here: " + ", ".join(fields)


def _fields_at(location: tuple[int | str, ...], annotation: Any) -> list[str]:
    """The keys of the settings class that a location leads to; tags of unions are part of locations."""
    candidates = [annotation]
    for part in location:
        candidates = [found for candidate in candidates for found in _step(candidate, part)]
    return sorted({name for candidate in candidates for model in _models_in(candidate) for name in model.model_fields})


def _step(annotation: Any, part: int | str) -> list[Any]:
    models = _models_in(annotation)
    nested = [model.model_fields[str(part)].annotation for model in models if str(part) in model.model_fields]
    tagged = [model for model in models if _has_tag(model, part)]
    in_mapping = [] if models and (nested or tagged) else models
    return nested or tagged or in_mapping


def _has_tag(model: type[BaseModel], part: int | str) -> bool:
    tag = model.model_fields.get("kind") or model.model_fields.get("name")
    return tag is not None and tag.default == part


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes inside an annotation: of unions, optional values and the values of mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
