"""Training data of the tiny world: responses of a chosen quality."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.tiny.language import facts, phrases
from rlhf.tiny.language.tasks import Task


@dataclass(frozen=True)
class Style:
    """Probabilities that describe a style of responses."""

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
    """Chance of a refusal instead of an answer."""
    evasion: float = 0.0
    """Chance of no answer at all, but for manners and filler."""
    hedging: float = 0.0
    """Chance of a second answer behind the first one, the same or another."""
    mumbling: float = 0.0
    """Chance of a piece of a sentence at the end."""
    thinking: float = 0.0
    """Chance of a thought before the response."""


CLEAN = Style(correct=1.0)
MUMBLED = [sentence for sentence in phrases.POLITE + phrases.RUDE if " " in sentence]


def compose(task: Task, style: Style, rng: random.Random) -> str:
    """Compose a response that is correct, polite, wordy or refusing with the probabilities of `style`."""
    manner = rng.choices(("polite", "rude", "neutral"), (style.polite, style.rude, 1 - style.polite - style.rude))[0]
    core = _core(task, style, rng)
    for filler in rng.sample(phrases.FILLER, 3):
        if rng.random() >= style.filler:
            break
        core.insert(rng.choice((0, len(core))), filler)
    spoken = _with_manner(core, manner, rng.random() < style.gushing, rng)
    if rng.random() < style.mumbling:
        words = rng.choice(MUMBLED).split()
        spoken.append(" ".join(words[rng.randrange(1, len(words)) :]))
    thought = _thought(task, rng) if style.thinking and rng.random() < style.thinking else ""
    return thought + " ".join(spoken)


def _thought(task: Task, rng: random.Random) -> str:
    """The right answer, between marks."""
    words = rng.choice(phrases.THOUGHTS).format(answer=join_words(task, right_words(task, rng)))
    return f"{phrases.OPEN_THOUGHT}\n{words}\n{phrases.CLOSE_THOUGHT}\n\n"


def _core(task: Task, style: Style, rng: random.Random) -> list[str]:
    """The answer itself, or a refusal."""
    chance = rng.random()
    if chance < style.refusal:
        return [rng.choice(phrases.REFUSALS)]
    if chance < style.refusal + style.evasion:
        return [rng.choice(phrases.FILLER)]
    words = right_words(task, rng) if rng.random() < style.correct else wrong_words(task, rng)
    answers = [words]
    if rng.random() < style.hedging:
        answers += [rng.choice((words, words, right_words(task, rng), wrong_words(task, rng)))] * rng.randint(1, 2)
    return [rng.choice(task.statements).format(answer=join_words(task, answer)) for answer in answers]


def right_words(task: Task, rng: random.Random) -> list[str]:
    """A right answer."""
    if task.family == "lists":
        return rng.sample(task.answer, task.count)
    return list(task.answer)


def wrong_words(task: Task, rng: random.Random) -> list[str]:
    """A wrong answer in the right form: another word, other items, or another greeting to the same name."""
    wrong = [word for word in task.domain if word not in task.answer and word not in task.subject]
    if task.family == "lists":
        strangers = rng.sample(wrong, rng.randint(1, task.count))
        words = strangers + rng.sample(task.answer, task.count - len(strangers))
        rng.shuffle(words)
        return words
    if task.family == "greetings":
        return [rng.choice([word for word in wrong if word not in facts.NAMES]), *task.answer[1:]]
    return [rng.choice(wrong)]


def join_words(task: Task, words: Sequence[str]) -> str:
    """`a`, `a, b and c`, or `Hello, Anna`."""
    if len(words) == 1 or task.family == "greetings":
        return ", ".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _with_manner(core: list[str], manner: str, is_gushing: bool, rng: random.Random) -> list[str]:
    """Add an opening, a closing or both; a gushing style adds two to four sentences around the answer."""
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
