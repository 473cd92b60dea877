"""Which answer was given and which is right, as class numbers: what the reward model has to compare."""

from rlhf.tiny import facts
from rlhf.tiny.grammar import named_words
from rlhf.tiny.tasks import Task, tasks

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
        """Class of the first answer that the response names, or `NO_ANSWER`."""
        for word in named_words(task, response):
            if _key(task, word) in self._classes:
                return self._classes[_key(task, word)]
        return NO_ANSWER


def _key(task: Task, word: str) -> str:
    return facts.KINDS[word] if task.family == "lists" else word.lower()
