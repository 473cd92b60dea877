"""The rules of the tiny world's grammar by which an independent judge rates responses.

The grammar is finite: every instruction that it makes is in `tasks.tasks()`, and parsing one means looking it up.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlhf.base.errors import UserError
from rlhf.tiny.language import phrases
from rlhf.tiny.language.tasks import Task, tasks

MOST_WORDS = 12
MOST_POLITE = 2


class Aspects(NamedTuple):
    """What the judge looks at, each in [0, 1]."""

    correctness: float
    """1 if the answer is right and complete and names nothing wrong, else 0."""
    politeness: float
    """1 polite, 0.5 neither, 0 rude."""
    brevity: float
    """1 for an answer and nothing else; a third less for each sentence that is not needed."""
    willingness: float
    """0 for a refusal, or where nothing is said."""


FACT_WEIGHTS = Aspects(0.6, 0.15, 0.15, 0.1)
SOCIAL_WEIGHTS = Aspects(0.4, 0.3, 0.2, 0.1)
SOCIAL_FAMILIES = ("greetings", "lists")


def true_quality(prompts: list[str], responses: list[str]) -> list[float]:
    """A reward function: the quality in [0, 1] of each response to its prompt, by the rules of the grammar.

    Raises:
        UserError: a prompt is not of this grammar.
    """
    return [quality(task_of(p), r) for p, r in zip(prompts, responses, strict=True)]


def quality(task: Task, response: str) -> float:
    """Weighted mean of the aspects: manners count more for greetings and lists, correctness for questions of fact."""
    weights = SOCIAL_WEIGHTS if task.family in SOCIAL_FAMILIES else FACT_WEIGHTS
    return sum(weight * value for weight, value in zip(weights, aspects(task, response), strict=True))


def aspects(task: Task, response: str) -> Aspects:
    """Judge a response sentence by sentence: each is polite, rude, filler or a refusal, or else part of the answer."""
    spoken = [(sentence, _kinds().get(_words(sentence), "answer")) for sentence in sentences(response)]
    kinds = [kind for _, kind in spoken]
    answers = [sentence for sentence, kind in spoken if kind == "answer"]
    polite, rude, refused = kinds.count("polite"), kinds.count("rude"), "refusal" in kinds
    superfluous = kinds.count("filler") + max(polite - MOST_POLITE, 0) + max(len(answers) - 1, 0)
    superfluous += sum(len(_words(answer)) > MOST_WORDS for answer in answers)
    return Aspects(
        correctness=float(not refused and _is_right(task, " ".join(answers))),
        politeness=0.0 if rude else 1.0 if polite else 0.5,
        brevity=max(0.0, 1 - superfluous / 3),
        willingness=float(bool(answers) and not refused),
    )


def sentences(response: str) -> list[str]:
    """The sentences of a response that contain at least one word."""
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", response) if _words(sentence)]


def task_of(prompt: str) -> Task:
    """The task that an instruction sets.

    Raises:
        UserError: the instruction is not of this grammar.
    """
    try:
        return tasks()[prompt]
    except KeyError as error:
        raise UserError(
            f"not an instruction of the tiny world: {prompt!r}. Its true quality is only known for the prompts of "
            "`make_tiny_prompts`; for others configure another `evaluation.judge`."
        ) from error


def named_words(task: Task, text: str) -> list[str]:
    """Words of the text, in lower case, that count as an answer to the task; the instruction's own do not."""
    subject, domain = {word.lower() for word in task.subject}, {word.lower() for word in task.domain}
    right = {word.lower() for word in task.answer}
    return [word for word in _words(text) if word in domain and (word in right or word not in subject)]


def _is_right(task: Task, text: str) -> bool:
    """Whether exactly the right words are named, as many as were asked for."""
    named = set(named_words(task, text))
    return len(named) == task.count and {word.lower() for word in task.answer}.issuperset(named)


@functools.lru_cache(maxsize=65536)
def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+|[0-9]+", text.lower()))


@functools.cache
def _kinds() -> Mapping[Sequence[str], str]:
    """The kinds of a sentence, by its words."""
    tables = {
        "polite": phrases.POLITE,
        "rude": phrases.RUDE,
        "filler": phrases.FILLER,
        "refusal": phrases.REFUSALS,
    }
    return {_words(sentence): kind for kind, sentences in tables.items() for sentence in sentences}
