"""Whether a response keeps its prompt's constraints: IFEval's checks (Zhou et al., 2311.07911), by if-verifiable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from if_verifiable.common import evaluate_instructions
from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT
from langdetect import DetectorFactory

from rlhf.base.errors import UserError
from rlhf.rewards.scorer import Conversation
from rlhf.rewards.verifiable.grading import Grade
from rlhf.rewards.verifiable.references import kept_value

Reading = Literal["strict", "loose"]
Credit = Literal["share", "all"]
DetectorFactory.seed = 0  # else the language of a text is a matter of chance


class _NoCheckError(Exception):
    """Constraints that cannot be checked; says why."""


def grade_constraints(
    instructions: str, arguments: str, reading: Reading, credit: Credit, conversation: Conversation
) -> Grade:
    """The share of its prompt's constraints that a response keeps, or whether it keeps all of them.

    Args:
        instructions: the kept column with the identifiers of the constraints, such as `keywords:existence`.
        arguments: the kept column with the arguments of each, by name.
        reading: `loose` tries the response without its first line, its last line and its asterisks, too.

    Raises:
        UserError: the prompts keep no such columns, or nltk's data are missing.
    """
    try:
        constraints = _constraints(kept_value(conversation, instructions), kept_value(conversation, arguments))
        kept = _kept(constraints, reading, conversation)
    except _NoCheckError as error:
        return Grade(None, str(error))
    share = sum(kept) / len(kept)
    value = share if credit == "share" else float(share == 1)
    return Grade(value, "all" if share == 1 else "some" if share else "none")


def _constraints(names: Any, arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    """Each constraint with the arguments that are given; datasets fill up with nulls, or hold them as JSON."""
    names, arguments = _parsed(names), _parsed(arguments)
    if not names:
        raise _NoCheckError("no_constraints")
    arguments = arguments or [None] * len(names)
    if not _are(names, str) or not _are(arguments, dict | None) or len(names) != len(arguments):
        raise _NoCheckError("not a list of names and as many arguments")
    given = [{name: value for name, value in (one or {}).items() if value is not None} for one in arguments]
    for name, values in zip(names, given, strict=True):
        _require_check(name, values)
    return list(zip(names, given, strict=True))


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def _are(values: Any, kind: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, kind) for one in values)


def _require_check(name: str, given: Mapping[str, Any]) -> None:
    """Refuse a constraint without a check, or whose arguments its check would replace by random ones."""
    if name not in INSTRUCTION_DICT:
        raise _NoCheckError(f"no check of {name}")
    check = INSTRUCTION_DICT[name](name)
    missing = [key for key in check.get_instruction_args_keys() if key not in given]
    if missing:
        raise _NoCheckError(f"{name} without {', '.join(missing)}")
    try:
        check.build_description(**given)
    except (TypeError, ValueError) as error:
        raise _NoCheckError(f"{name}: {error}") from error
    used = check.get_instruction_args() or {}
    replaced = [key for key, value in given.items() if _plain(used.get(key)) != _plain(value)]
    if replaced:
        raise _NoCheckError(f"{name} with an unusable {', '.join(replaced)}")


def _plain(value: Any) -> Any:
    """A value as checks may rewrite it: texts stripped and in lower case, lists sorted and without duplicates."""
    if isinstance(value, str):
        return value.strip().lower()
    return sorted({str(_plain(one)) for one in value}) if isinstance(value, Sequence) else value


def _kept(
    constraints: Sequence[tuple[str, Mapping[str, Any]]], reading: Reading, conversation: Conversation
) -> list[bool]:
    """Whether each constraint is kept; an empty response keeps none."""
    names, arguments = zip(*constraints, strict=True)
    try:
        results, _ = evaluate_instructions(
            conversation.response, list(names), list(arguments), conversation.prompt, INSTRUCTION_DICT
        )
    except re.error as error:
        raise _NoCheckError(f"keywords that are no regular expression: {error}") from error
    except LookupError as error:
        if "nltk" not in str(error):
            raise
        raise UserError(
            "constraints on sentences and on words in capitals need nltk's data `punkt_tab`, which is not downloaded "
            "here: put it into a folder `tokenizers/punkt_tab`, and name the folder around in NLTK_DATA"
        ) from error
    return [one.loose_pass if reading == "loose" else one.strict_pass for one in results] or [False] * len(names)
