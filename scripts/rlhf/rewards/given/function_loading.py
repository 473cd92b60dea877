"""Find, import and check the user's reward function. Imports no libraries, since every plan does this."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rlhf.base.digested_modules import import_digested
from rlhf.base.errors import UserError, own_line
from rlhf.base.source_digest import SCRIPTS, find_module


class RewardFunction(NamedTuple):
    """A reward function, and what it gets."""

    call: Callable[..., Any]
    """Returns one value per response, or is a coroutine function that does."""
    takes_records: bool
    """Whether it gets a list of records; otherwise it gets two lists of texts, the prompts and the responses."""


def load_function(name: str) -> RewardFunction:
    """Load the function `module:function` from the very file whose digest is taken.

    Raises:
        UserError: there is no such module in the working directory or in scripts/, another module has its name, it
            cannot be imported (names the line), it has no such function, or the function takes neither one list nor
            two.
    """
    module_name, function_name = name.split(":")
    module = _import(name, module_name)
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "is not a function" if hasattr(module, function_name) else "is not defined"
        raise UserError(f"function {name!r}: {function_name!r} {what} in {module.__file__}{_functions(module, name)}")
    return RewardFunction(function, _takes_records(name, function))


def _takes_records(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one list, or has to be called with two.

    Raises:
        UserError: with neither.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some C functions have no signature
        return False
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    try:
        signature.bind([])
        return inspect.Parameter.VAR_POSITIONAL not in kinds
    except TypeError:
        pass
    try:
        signature.bind([], [])
        return False
    except TypeError as error:
        raise UserError(
            f"function {name!r}: it takes {signature}, but is called with one list, the records, or with two, the "
            f"prompts and the responses: {error}"
        ) from error


def _import(name: str, module_name: str) -> ModuleType:
    """The module of a function, see `load_function`."""
    roots = (SCRIPTS, Path.cwd())
    path = find_module(module_name, roots)
    if path is None:
        written = f" Write the module without `.py`: {module_name[:-3]!r}." if module_name.endswith(".py") else ""
        raise UserError(
            f"function {name!r}: there is no module {module_name!r} in {' or '.join(map(str, roots))}.{written}"
        )
    try:
        return import_digested(module_name)
    except UserError as error:
        raise UserError(f"function {name!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"function {name!r}: its module cannot be imported: {own_line(error, path)}") from error


def _functions(module: ModuleType, name: str) -> str:
    """The functions that a module defines, with a suggestion."""
    found = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name.split(":")[1], found, n=1)
    return (f". Did you mean {near[0]!r}?" if near else "") + f". It defines: {', '.join(found) or 'no function'}"
