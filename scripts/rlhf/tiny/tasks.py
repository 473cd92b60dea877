"""The tasks of the tiny world: every instruction that its grammar can make, with its right answers."""

import functools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from rlhf.errors import UserError
from rlhf.tiny import facts
from rlhf.tiny.templates import (
    CALENDAR_QUESTIONS,
    FRAMES,
    GREETING_QUESTIONS,
    LIST_QUESTIONS,
    SUM_QUESTIONS,
    TABLE_FAMILIES,
)


@dataclass(frozen=True)
class Task:
    """One instruction with what there is to know about it."""

    prompt: str
    """The instruction."""
    family: str
    """`sums`, `opposites`, ...: see `tasks`."""
    answer: tuple[str, ...]
    """Right words, as they are written."""
    count: int
    """How many of the right words a right answer names: all of them, but for lists."""
    domain: tuple[str, ...]
    """All words that count as an answer, right or wrong."""
    subject: tuple[str, ...]
    """Words of the domain that the instruction itself brings: an answer may repeat them."""
    statements: tuple[str, ...]
    """Sentences that give the answer, with the place `{answer}`."""


def sample_tasks(seed: int, count: int) -> tuple[list[Task], list[Task]]:
    """`count` tasks in random order for the experiment's dataset, and all others, from which its models learn.

    Raises:
        UserError: the grammar has fewer tasks, or none would be left over.
    """
    everything = list(tasks().values())
    if count >= len(everything):
        raise UserError(f"tiny.prompts: {count} are asked for; the grammar has {len(everything)}, and some must be left")
    random.Random(f"tasks {seed}").shuffle(everything)
    return everything[:count], everything[count:]


@functools.cache
def tasks() -> Mapping[str, Task]:
    """Every task of the grammar by its instruction."""
    found: dict[str, Task] = {}
    for frame, task in product(FRAMES, _plain_tasks()):
        prompt = frame.format(task.prompt)
        if prompt in found:
            raise AssertionError(f"the grammar makes {prompt!r} twice")
        found[prompt] = replace(task, prompt=prompt)
    return found


def _plain_tasks() -> Iterator[Task]:
    for family, table, questions, statements in TABLE_FAMILIES:
        domain = tuple(sorted(set(table.values())))
        for (subject, answer), question in product(table.items(), questions):
            filled = tuple(statement.replace("{x}", subject) for statement in statements)
            yield Task(question.format(x=subject), family, (answer,), 1, domain, (subject,), filled)
    yield from _sums()
    yield from _calendar()
    yield from _lists()
    yield from _greetings()


def _sums() -> Iterator[Task]:
    domain = tuple(str(number) for number in range(19))
    for a, b, question in product(range(2, 10), range(2, 10), SUM_QUESTIONS):
        statements = (f"{a} plus {b} is {{answer}}.", "The answer is {answer}.")
        yield Task(question.format(a=a, b=b), "sums", (str(a + b),), 1, domain, (str(a), str(b)), statements)


def _calendar() -> Iterator[Task]:
    for unit, names in (("day", facts.DAYS), ("month", facts.MONTHS)):
        for (subject, answer), question in product(zip(names, names[1:] + names[:1], strict=True), CALENDAR_QUESTIONS):
            statements = (f"{{answer}} comes after {subject}.", "It is {answer}.")
            prompt = question.format(x=subject, unit=unit)
            yield Task(prompt, "calendar", (answer,), 1, tuple(names), (subject,), statements)


def _lists() -> Iterator[Task]:
    domain = tuple(item for items in facts.CATEGORIES.values() for item in items)
    for (category, items), (count, word) in product(facts.CATEGORIES.items(), facts.NUMBER_WORDS.items()):
        for question in LIST_QUESTIONS:
            statements = (f"Some {category} are {{answer}}.", "Here you are: {answer}.")
            yield Task(question.format(n=word, x=category), "lists", tuple(items), count, domain, (), statements)


def _greetings() -> Iterator[Task]:
    domain = (*GREETING_QUESTIONS, *facts.NAMES)
    for name, (greeting, questions) in product(facts.NAMES, GREETING_QUESTIONS.items()):
        for question in questions:
            yield Task(question.format(x=name), "greetings", (greeting, name), 2, domain, (), ("{answer}!",))
