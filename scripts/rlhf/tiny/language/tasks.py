"""The tasks of the tiny world: every instruction that its grammar can make, with its right answers."""

import functools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import pyarrow as pa

from rlhf.base.artifacts import Artifact
from rlhf.base.errors import UserError
from rlhf.tiny.language import facts
from rlhf.tiny.language.templates import (
    DAY_QUESTIONS,
    FRAMES,
    GREETING_QUESTIONS,
    LIST_QUESTIONS,
    SUM_QUESTIONS,
    TABLE_FAMILIES,
)

TINY_PROMPTS = Artifact("tiny prompts", pa.schema([pa.field("prompt", pa.string(), nullable=False)]), key=("prompt",))
"""The experiment's dataset."""


@dataclass(frozen=True)
class Task:
    """One instruction with its right answers."""

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
        raise UserError(
            f"tiny.prompts: {count} are asked for; the grammar has {len(everything)}, and some must be left"
        )
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
    yield from _days()
    yield from _lists()
    yield from _greetings()


def _sums() -> Iterator[Task]:
    domain = tuple(str(number) for number in range(2, facts.LARGEST_SUM + 1))
    for a, b, question in product(range(1, facts.LARGEST_SUM), range(1, facts.LARGEST_SUM), SUM_QUESTIONS):
        if a + b <= facts.LARGEST_SUM:
            statements = (f"{a} plus {b} is {{answer}}.", "The answer is {answer}.")
            yield Task(question.format(a=a, b=b), "sums", (str(a + b),), 1, domain, (str(a), str(b)), statements)


def _days() -> Iterator[Task]:
    following = facts.DAYS[1:] + facts.DAYS[:1]
    for (subject, answer), question in product(zip(facts.DAYS, following, strict=True), DAY_QUESTIONS):
        statements = (f"The day after {subject} is {{answer}}.", "It is {answer}.")
        yield Task(question.format(x=subject), "days", (answer,), 1, tuple(facts.DAYS), (subject,), statements)


def _lists() -> Iterator[Task]:
    for (kind, plural), (count, number) in product(facts.PLURAL_KINDS.items(), facts.NUMBER_WORDS.items()):
        items = tuple(item for item, kind_of_item in facts.KINDS.items() if kind_of_item == kind)
        statements = (f"Some {plural} are {{answer}}.", "Here you are: {answer}.")
        for question in LIST_QUESTIONS:
            prompt = question.format(n=number, x=plural)
            yield Task(prompt, "lists", items, count, tuple(facts.KINDS), (), statements)


def _greetings() -> Iterator[Task]:
    domain = (*GREETING_QUESTIONS, *facts.NAMES)
    for name, (greeting, questions) in product(facts.NAMES, GREETING_QUESTIONS.items()):
        for question in questions:
            yield Task(question.format(x=name), "greetings", (greeting, name), 2, domain, (), ("{answer}!",))
