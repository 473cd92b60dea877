"""What the configuration chooses by name, such as a loss: a package with one module per choice, of the choice's name.

A program imports only the module that its settings name. So an edit of one choice reruns what uses it, and a new choice
reruns nothing.
"""

from __future__ import annotations

import ast
from abc import ABC
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, SchemaValidator, core_schema

from rlhf.base.errors import UserError, own_line
from rlhf.base.settings import Settings

REMEDY = "Fix the file, or remove it and choose another"


def choice_names(package: str) -> list[str]:
    """The available names, in alphabetical order."""
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def choice_module(package: str, name: str) -> str:
    """Name of a choice's module, whose code belongs to the digest of what is made with it."""
    return f"{package}.{name}"


def import_choice(module: str) -> ModuleType:
    """Import the module of a choice.

    Raises:
        UserError: it cannot be imported; names the file and its line.
    """
    file = _file_of(module)
    try:
        return import_module(module)
    except Exception as error:
        raise UserError(f"{file}: cannot be imported: {own_line(error, file)}. {REMEDY}.") from error


def _file_of(module: str) -> Path:
    """The file of a module, which is not imported."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no file of the module {module!r}", name=module)
    return Path(spec.origin)


def name_of_choice(package: str, function: str) -> Any:
    """The type of a field that holds the name of a choice without settings of its own.

    Args:
        function: what each module of the package defines. A module is read, not imported: it may need libraries that
            only its program has. A module with a syntax error or without the function is a `UserError`.
    """

    def check(name: str) -> str:
        names = list(map(repr, choice_names(package)))
        if repr(name) not in names:
            expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))  # as pydantic has it
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        file = _file_of(choice_module(package, name))
        _require_function(file, function, file.stat().st_mtime_ns)
        return name

    return Annotated[str, AfterValidator(check), WithJsonSchema({"enum": choice_names(package), "type": "string"})]


@cache  # a plan validates the settings of each of its jobs
def _require_function(file: Path, function: str, mtime: int) -> None:
    """Raise UserError unless a file defines a function; `mtime` invalidates the cache on an edit."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise UserError(f"{file}: cannot be read as Python: {own_line(error, file)}. {REMEDY}.") from error
    if not any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body):
        raise UserError(f"{file}: defines no function `{function}`. {REMEDY}.")


class Choice(Settings, ABC):
    """Settings with a key that names the choice they belong to.

    A subclass that sets `package` stands for all choices in it: as the type of a field it accepts the settings of any.
    Each module of the package defines one subclass, whose key is a literal of the module's name.
    """

    package: ClassVar[str]
    """Package with a module per choice."""
    key: ClassVar[str]
    """The key that names the choice."""

    @classmethod
    def stands_for_all(cls) -> bool:
        return "package" in vars(cls)

    @classmethod
    def choices(cls) -> dict[str, type[Self]]:
        """The settings class of each choice, in alphabetical order of their names."""
        found = {name: cls.named(name) for name in choice_names(cls.package)}
        return {name: choice for name, choice in found.items() if choice is not None}

    @classmethod
    def named(cls, name: str) -> type[Self] | None:
        """The settings class of a choice; None where its module defines another subclass of the same package.

        Raises:
            ModuleNotFoundError: there is no such module.
            UserError: it cannot be imported, or does not define exactly one settings class of its own name.
        """
        module = import_choice(choice_module(cls.package, name))
        base: type[Choice] = next(one for one in reversed(cls.__mro__) if vars(one).get("package") == cls.package)
        classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
        own = [value for value in classes if value.__module__ == module.__name__]
        if len(own) != 1:
            raise UserError(
                f"{module.__file__}: defines {len(own)} subclasses of {base.__name__}, and must define one. {REMEDY}."
            )
        (found,) = own
        if get_args(found.model_fields[cls.key].annotation) != (name,):
            raise UserError(
                f"{module.__file__}: {found.__name__} must have the field `{cls.key}: Literal[{name!r}]`. {REMEDY}."
            )
        return found if issubclass(found, cls) else None

    @property
    def module(self) -> str:
        """Name of the module of this choice."""
        return type(self).__module__

    @classmethod
    def _read(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise PydanticKnownError("model_attributes_type")
        if cls.key not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": repr(cls.key)})
        name = value[cls.key]
        choice = cls.named(name) if name in choice_names(cls.package) else None
        if choice is None:
            expected = ", ".join(map(repr, cls.choices()))
            context = {"discriminator": repr(cls.key), "tag": str(name), "expected_tags": expected}
            raise PydanticKnownError("union_tag_invalid", context)
        # Validated as a union of one member, so that the locations in errors are those of a tagged union.
        return SchemaValidator(cls._union({name: choice})).validate_python(value)

    @classmethod
    def _union(cls, choices: Mapping[str, type[Self]]) -> CoreSchema:
        members = {name: choice.__pydantic_core_schema__ for name, choice in choices.items()}
        return core_schema.tagged_union_schema(members, discriminator=cls.key)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.stands_for_all():
            return handler(source)
        written = core_schema.plain_serializer_function_ser_schema(lambda settings: settings.model_dump(mode="json"))
        return core_schema.no_info_plain_validator_function(cls._read, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if not cls.stands_for_all():
            return handler(schema)
        return handler(cls._union(cls.choices()))
