"""Class labels of the given and the right answer, which the reward model learns to compare."""

from rlhf.tiny.language import facts
from rlhf.tiny.language.grammar import named_words
from rlhf.tiny.language.tasks import Task, tasks

NO_ANSWER = -100
"""The class that cross-entropy ignores."""


class AnswerLabels:
    """Numbers for the answers of the grammar: a word, or the kind of a list's items, or the greeting before a name."""

    def __init__(self) -> None:
        words = {_key(task, task.answer[0]) for task in tasks().values()}
        words |= {_key(task, word) for task in tasks().values() for word in task.domain if word not in facts.NAMES}
        self._classes = {word: number for number, word in enumerate(sorted(words))}

    def __len__(self) -> int:
        return len(self._classes)

    def right(self, task: Task) -> int:
        """Class of the right answer."""
        return self._classes[_key(task, task.answer[0])]

    def given(self, task: Task, response: str) -> int:
        """Class of the first wrong answer that the response names, or else of the right one, or `NO_ANSWER`."""
        keys = [_key(task, word) for word in named_words(task, response)]
        given = [self._classes[key] for key in keys if key in self._classes]
        wrong = [label for label in given if label != self.right(task)]
        return (wrong or given or [NO_ANSWER])[0]


def _key(task: Task, word: str) -> str:
    return facts.KINDS[word] if task.family == "lists" else word.lower()
