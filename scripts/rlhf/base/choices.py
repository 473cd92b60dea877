"""What the configuration chooses by name: a package of such choices has one module each, of that name.

A program imports the one that its settings name, and no other. So an edit of one reruns what uses it, and a new one
reruns nothing.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, SchemaValidator, core_schema

from rlhf.base.settings import Settings


def choice_names(package: str) -> list[str]:
    """The names that there are to choose from, in alphabetical order."""
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def choice_module(package: str, name: str) -> str:
    """The module of a choice, whose code is part of what is made with it."""
    return f"{package}.{name}"


def name_of_choice(package: str) -> Any:
    """The type of a field that holds the name of a choice which has no settings of its own."""

    def check(name: str) -> str:
        names = list(map(repr, choice_names(package)))
        if repr(name) not in names:
            expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))  # as pydantic has it
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return name

    return Annotated[str, AfterValidator(check), WithJsonSchema({"enum": choice_names(package), "type": "string"})]


class Choice(Settings, ABC):
    """Settings that say by one of their keys which choice they are of.

    A subclass that names a package stands for all choices there: as the type of a field it takes the settings of the
    one that is named. Each module of the package defines one subclass of it, with a literal of the module's name.
    """

    package: ClassVar[str]
    """The package of the choices."""
    key: ClassVar[str]
    """The key that names one."""

    @classmethod
    def stands_for_all(cls) -> bool:
        return "package" in vars(cls)

    @classmethod
    def choices(cls) -> dict[str, type[Self]]:
        """The settings class of each choice, in the alphabetical order of their names."""
        found = {name: cls.named(name) for name in choice_names(cls.package)}
        return {name: choice for name, choice in found.items() if choice is not None}

    @classmethod
    def named(cls, name: str) -> type[Self] | None:
        """The settings class of a choice; None where its module has another kind of choice.

        Raises:
            ModuleNotFoundError: there is no such module.
            TypeError: it defines several.
        """
        module = import_module(choice_module(cls.package, name))
        own = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, cls)]
        found = [value for value in own if value.__module__ == module.__name__]
        if len(found) > 1:
            raise TypeError(f"{module.__file__} defines {len(found)} subclasses of {cls.__name__}, and needs one")
        return found[0] if found else None

    @property
    def module(self) -> str:
        """The module of this choice."""
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
        # As a union of one member: the places of errors are those of a union, whose members have names.
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
