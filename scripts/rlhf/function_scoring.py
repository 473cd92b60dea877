"""Scores of responses, and the scoring by a function of the user. Without torch: a function needs none."""

from __future__ import annotations

import difflib
import importlib
import inspect
import linecache
import numbers
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rlhf.errors import UserError
from rlhf.rewards import LARGEST_REWARD, NO_REWARD
from rlhf.source_digest import SCRIPTS, find_module

ScoringFunction = Callable[[list[str], list[str]], Sequence[float | None]]


@dataclass(frozen=True)
class Score:
    """The reward of one response, or why it has none."""

    reward: float | None
    invalid: str | None = None
    objectives: list[float] | None = None


def load_function(name: str) -> ScoringFunction:
    """The function `module:function`, of the very file whose digest is taken.

    Raises:
        UserError: there is no such module in the working directory or in scripts/, another module has its name, it
            fails to import (with its own line), it has no such function, or the function takes no two lists.
    """
    module_name, function_name = name.split(":")
    module = _import(name, module_name)
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "is no function" if hasattr(module, function_name) else "is not there"
        raise UserError(f"function {name!r}: {function_name!r} {what} in {module.__file__}{_functions(module, name)}")
    if inspect.iscoroutinefunction(function):
        raise UserError(f"function {name!r}: it is an `async def`, and is called without waiting: write `def`")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C do not say what they take
        return function
    try:
        signature.bind([], [])
    except TypeError as error:
        raise UserError(
            f"function {name!r}: it takes {signature}, and is called with two lists, the prompts and the responses: "
            f"{error}"
        ) from error
    return function


def _import(name: str, module_name: str) -> ModuleType:
    """The module of a function, see `load_function`."""
    roots = (SCRIPTS, Path.cwd())
    path = find_module(module_name, roots)
    if path is None:
        written = f" Write the module without `.py`: {module_name[:-3]!r}." if module_name.endswith(".py") else ""
        raise UserError(
            f"function {name!r}: there is no module {module_name!r} in {' or '.join(map(str, roots))}.{written}"
        )
    with _importable(path.parents[module_name.count(".") + (path.name == "__init__.py")]):
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise UserError(f"function {name!r}: its module cannot be imported: {own_line(error, path)}") from error
    if Path(module.__file__ or "").resolve() != path:
        raise UserError(
            f"function {name!r}: another module has the name {module_name!r}, {module.__file__ or 'built into Python'}: "
            f"rename {path}"
        )
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """While a module is imported, its folder is looked at first; afterwards last, for what its functions import."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _functions(module: ModuleType, name: str) -> str:
    """The functions that a module defines, the nearest first."""
    found = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name.split(":")[1], found, n=1)
    return (f". Did you mean {near[0]!r}?" if near else "") + f". It defines: {', '.join(found) or 'no function'}"


def _file_of(function: ScoringFunction) -> Path:
    """The file that a function, or an object that is called like one, is written in."""
    unwrapped = inspect.unwrap(function)
    code = getattr(unwrapped, "__code__", None) or getattr(type(unwrapped).__call__, "__code__", None)
    return Path(code.co_filename if code else __file__)


def own_line(error: BaseException, path: Path) -> str:
    """What was raised, and the line of the user's file behind it: the last one in its folder that was running."""
    raised = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{raised}, at {error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(path.parent)]
    if not own:
        return raised
    frame = own[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"{raised}, at {frame.filename}, line {frame.lineno}: {line}"


def score_by_function(function: ScoringFunction, prompts: Sequence[str], responses: Sequence[str]) -> list[Score]:
    """Call the user's function once, on all rows. None is no reward: the response is invalid, as a too long one.

    Raises:
        UserError: it raises (with its own line), returns no list, another number of scores, or something that is
            neither a finite number nor None.
    """
    try:
        returned = function(list(prompts), list(responses))
        scores = list(returned) if isinstance(returned, Iterable) else None
    except Exception as error:
        raise UserError(f"the reward function raised {own_line(error, _file_of(function))}") from error
    if scores is None:
        raise UserError(f"the reward function returned {returned!r}, and not a list of scores")
    if len(scores) != len(responses):
        raise UserError(f"the reward function returned {len(scores)} scores for {len(responses)} responses")
    for row, score in enumerate(scores):
        if score is None or (isinstance(score, numbers.Real) and abs(score) <= LARGEST_REWARD):
            continue
        raise UserError(
            f"the reward function returned {score!r} for row {row}, which is no finite number (float32), and not None "
            f"for no reward. Prompt: {prompts[row][:80]!r}. Response: {responses[row][:80]!r}"
        )
    return [Score(None, NO_REWARD) if score is None else Score(float(score)) for score in scores]
