"""What the models of the tiny world learn from: responses of a quality that can be chosen, and batches of tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.tiny import facts, phrases
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
    gushing: float = 0.0
    """Chance of more good or bad manners than one sentence before the answer and one after it."""
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
    return " ".join(_with_manner(core, manner, rng.random() < style.gushing, rng))


def right_words(task: Task, rng: random.Random) -> list[str]:
    """A right answer."""
    if task.family == "lists":
        return rng.sample(task.answer, task.count)
    return list(task.answer)


def wrong_words(task: Task, rng: random.Random) -> list[str]:
    """A wrong answer of the right form: another word, items of another kind, or another greeting to the right name."""
    wrong = [word for word in task.domain if word not in task.answer and word not in task.subject]
    if task.family == "lists":
        stranger = rng.choice(wrong)
        return rng.sample([item for item in facts.KINDS if facts.KINDS[item] == facts.KINDS[stranger]], task.count)
    if task.family == "greetings":
        return [rng.choice([word for word in wrong if word not in facts.NAMES]), *task.answer[1:]]
    return [rng.choice(wrong)]


def join_words(task: Task, words: Sequence[str]) -> str:
    """`a`, `a, b and c`, or `Hello, Anna`."""
    if len(words) == 1 or task.family == "greetings":
        return ", ".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _with_manner(core: list[str], manner: str, is_gushing: bool, rng: random.Random) -> list[str]:
    """Add an opening, a closing or both; or, gushing, two to four sentences, before and after."""
    if manner == "neutral":
        return core
    openings, closings = (
        (phrases.POLITE_OPENINGS, phrases.POLITE_CLOSINGS)
        if manner == "polite"
        else (phrases.RUDE_OPENINGS, phrases.RUDE_CLOSINGS)
    )
    counts = [(1, 1), (1, 0), (0, 1)] if not is_gushing else [(1, 2), (2, 1), (1, 3), (2, 2), (0, 2), (2, 0)]
    before, after = rng.choice(counts)
    return [*rng.choices(openings, k=before), *core, *rng.choices(closings, k=after)]
