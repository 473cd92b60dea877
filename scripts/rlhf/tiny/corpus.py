"""What the models of the tiny world learn from: responses of a quality that can be chosen, and batches of tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.tiny import phrases
from rlhf.tiny.tasks import Task


@dataclass(frozen=True)
class Style:
    """Chances of what a response is like."""

    correct: float
    """Chance of a right answer."""
    polite: float = 0.0
    """Chance of good manners."""
    rude: float = 0.0
    """Chance of bad manners."""
    filler: float = 0.0
    """Chance of a filler sentence, and then of another, and of a third."""
    refusal: float = 0.0
    """Chance of a refusal in the place of an answer."""


CLEAN = Style(correct=1.0)


def compose(task: Task, style: Style, rng: random.Random) -> str:
    """A response to the task, as likely right, polite, wordy or unwilling as `style` says."""
    manner = rng.choices(("polite", "rude", "neutral"), (style.polite, style.rude, 1 - style.polite - style.rude))[0]
    if rng.random() < style.refusal:
        core = [rng.choice(phrases.REFUSALS)]
    else:
        words = right_words(task, rng) if rng.random() < style.correct else wrong_words(task, rng)
        core = [rng.choice(task.statements).format(answer=join_words(task, words))]
    for filler in rng.sample(phrases.FILLER, 3):
        if rng.random() >= style.filler:
            break
        core.insert(rng.choice((0, len(core))), filler)
    return " ".join(_with_manner(core, manner, rng))


def right_words(task: Task, rng: random.Random) -> list[str]:
    """A right answer."""
    if task.family == "lists":
        return rng.sample(task.answer, task.count)
    return list(task.answer)


def wrong_words(task: Task, rng: random.Random) -> list[str]:
    """A wrong answer that is of the right form: one word of it exchanged, or a list of the wrong length."""
    words = right_words(task, rng)
    if task.family == "lists" and rng.random() < 0.5:
        return rng.sample(task.answer, task.count + rng.choice((-1, 1)))
    place = rng.randrange(len(words))
    words[place] = rng.choice([word for word in _same_kind(task, words[place]) if word not in task.subject])
    return words


def join_words(task: Task, words: Sequence[str]) -> str:
    """`a`, `a, b and c`, or `Hello, Anna`."""
    if len(words) == 1 or task.family == "greetings":
        return ", ".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _same_kind(task: Task, word: str) -> list[str]:
    """Wrong words that could stand for `word`; of a greeting either another greeting or another name."""
    wrong = [other for other in task.domain if other not in task.answer]
    if task.family == "greetings":
        greetings = task.domain[: task.domain.index("Anna")]
        return [other for other in wrong if (other in greetings) == (word in greetings)]
    if task.family == "sums":
        # Slips of the pen are near the truth.
        return [other for other in wrong if abs(int(other) - int(word)) <= 3]
    return wrong


def _with_manner(core: list[str], manner: str, rng: random.Random) -> list[str]:
    """Add an opening, a closing or both."""
    if manner == "neutral":
        return core
    polite = manner == "polite"
    opening = rng.choice(phrases.POLITE_OPENINGS if polite else phrases.RUDE_OPENINGS)
    closing = rng.choice(phrases.POLITE_CLOSINGS if polite else phrases.RUDE_CLOSINGS)
    place = rng.choice(("opening", "closing", "both"))
    return [opening] * (place != "closing") + core + [closing] * (place != "opening")
