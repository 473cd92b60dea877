"""Validation errors as sentences: the key, what it was, and what it may be."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rlhf.base.choices import Choice

SHOWN_CHARACTERS = 60
PLAIN_WORDS = {
    "int_type": "must be a whole number (integer)",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list, [a, b]",
    "finite_number": "must be a finite number",
}
BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("greater than or equal to", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("less than or equal to", "le"),
}
SECTION_KINDS = ("model_type", "dict_type", "model_attributes_type")


@dataclass
class _Place:
    """Where the location of an error leads to in the settings classes."""

    annotations: list[Any]
    key: list[str] = field(default_factory=list)
    """As the user writes it: without the names of a union's members, which are in locations too."""
    field: FieldInfo | None = None
    names_a_key: bool = False
    """Whether the error is about a name that the user chose, and not about its value."""

    @property
    def models(self) -> list[type[BaseModel]]:
        return [model for annotation in self.annotations for model in _models_in(annotation)]

    def step(self, part: int | str) -> None:
        models = self.models
        tagged = [model for model in models if _tag(model) == part] if len(models) > 1 else []
        fields = [model.model_fields[str(part)] for model in models if str(part) in model.model_fields]
        if part == "[key]":
            self.names_a_key = True
        elif tagged:
            self.annotations = tagged
        elif fields:
            self.annotations, self.field = [found.annotation for found in fields], fields[0]
            self.key.append(str(part))
        elif models or isinstance(part, int):  # a name that the user chose, a wrong key, or a place in a list
            self.key.append(str(part))


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """One line per wrong key: `key: what is wrong (it is <value>)`, and below it what the key means.

    A wrong key comes with the nearest allowed one, a missing choice with the choices.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    meanings: dict[tuple[str, str], str] = {}
    for details in error.errors():
        place = _place(details["loc"], model)
        line, meaning = _line(details, place)
        at = ".".join(place.key), _shown(details["input"])
        lines.setdefault(at, []).append(line)
        meanings[at] = meaning
    return "\n".join(_paragraph(*at, said, meanings[at]) for at, said in lines.items())


def _paragraph(key: str, value: str, said: list[str], meaning: str) -> str:
    """What is wrong with a value, with each of the types that it may have."""
    *others, last = dict.fromkeys(said)
    text = " or ".join([*(line.split(" {value}")[0] for line in others), last]).replace("{value}", f"(it is {value})")
    return f"  {key}: {text}" + (f"\n    {meaning}" if meaning else "") if key else f"  {text}"


def _place(location: Iterable[int | str], model: type[BaseModel]) -> _Place:
    place = _Place([model])
    for part in location:
        place.step(part)
    return place


def _line(details: ErrorDetails, place: _Place) -> tuple[str, str]:
    """What is wrong, with `{value}` where the value belongs, and the meaning of the key."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    meaning = " ".join((place.field.description or "").split()) if place.field else ""
    if kind == "extra_forbidden":
        return f"there is no such key. {_allowed_keys(details['loc'], place)}", ""
    if kind == "missing":
        return "this key is missing", meaning
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _choice(context, place), ""
    if kind in SECTION_KINDS:
        return f"must be a section with keys of its own {{value}}. {_section_keys(place.models)}", ""
    if kind == "value_error" and (isinstance(value, dict) or not place.key):
        return str(context.get("error", details["msg"])), ""
    what = "this name " if place.names_a_key else ""
    words = f"{what}{_words(details)} {{value}}"
    return f"{words}{_hint(kind, value)}{_near(value, context)}", "" if place.names_a_key else meaning


def _words(details: ErrorDetails) -> str:
    """What is wrong with a value, after "<key>:"."""
    context = details.get("ctx", {})
    if details["type"] == "string_pattern_mismatch":
        return f"does not match the pattern {context['pattern']}"
    if details["type"] == "too_short":
        return f"needs at least {context['min_length']} of them"
    if details["type"] in BOUNDS:
        words, bound = BOUNDS[details["type"]]
        return f"must be {words} {context[bound]!r}"
    if details["type"] in PLAIN_WORDS:
        return PLAIN_WORDS[details["type"]]
    message = details["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return message.replace("input should be", "must be").replace("string should have", "must have")


def _choice(context: dict[str, Any], place: _Place) -> str:
    """A union's member is missing or unknown: name the key that chooses, and the choices."""
    place.key.append(str(context["discriminator"]).strip("'"))
    expected = str(context.get("expected_tags") or ", ".join(repr(_tag(model)) for model in place.models))
    if "tag" not in context:
        return f"this key is missing. Allowed: {expected}"
    near = difflib.get_close_matches(str(context["tag"]), [choice.strip(" '") for choice in expected.split(",")], n=1)
    return (
        f"there is no {context['tag']!r}." + (f" Did you mean {near[0]!r}?" if near else "") + f" Allowed: {expected}"
    )


def _near(value: object, context: dict[str, Any]) -> str:
    expected = [word.strip("' ") for word in str(context.get("expected", "")).replace(" or ", ", ").split(",")]
    near = difflib.get_close_matches(value.lower(), expected, n=1) if isinstance(value, str) else []
    return f". Did you mean {near[0]!r}?" if near and near[0] else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _hint(kind: str, value: object) -> str:
    if kind in ("float_type", "int_type") and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        whole = kind == "int_type" and number.is_integer()
        how = f"{int(number)}" if whole else f"{number!r} as a number, with point and sign (1.0e-6, 1.0e+6)"
        return f". YAML reads this as text; write {how}"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f". Write {int(value)}"
    if kind == "string_type" and value is not None and not isinstance(value, list | dict):
        return ". Write it in quotes, if it is meant: YAML reads dates, numbers, yes and no as something else than text"
    return ""


def _allowed_keys(location: tuple[int | str, ...], place: _Place) -> str:
    fields = sorted({name for model in place.models for name in model.model_fields})
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return (f"Did you mean `{near[0]}`? " if near else "") + "Allowed here: " + ", ".join(fields)


def _section_keys(models: list[type[BaseModel]]) -> str:
    tags = [repr(_tag(model)) for model in models if _tag(model)]
    if len(models) > 1 and tags:
        key = "kind" if "kind" in models[0].model_fields else "name"
        return f"Its key `{key}` is one of {', '.join(tags)}"
    return "Allowed there: " + ", ".join(sorted({name for model in models for name in model.model_fields}))


def _tag(model: type[BaseModel]) -> str | None:
    """The value of `kind` or `name` by which a union's member is chosen."""
    tag = model.model_fields.get("kind") or model.model_fields.get("name")
    choices = get_args(tag.annotation) if tag is not None else ()
    return str(choices[0]) if len(choices) == 1 else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes inside an annotation: of unions, optional values and the values of mappings."""
    if isinstance(annotation, type) and issubclass(annotation, Choice) and annotation.stands_for_all():
        return list(annotation.choices().values())
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
