"""Scores from a judge: ratings of single responses, or verdicts on pairs of responses to the same prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

import choix
import numpy as np

from rlhf.base.files.journal import Answer
from rlhf.machine.progress import Progress
from rlhf.rewards.judge.client import Judge, Messages
from rlhf.rewards.judge.templates import JudgeTemplate
from rlhf.rewards.judge.verdicts import preference, rating
from rlhf.rewards.scorer import Conversation, Score

Item = TypeVar("Item")
NO_VERDICT, REFUSED = "no_verdict", "refused"
"""Why a response has no score: the judge's answers hold no verdict, or its server refuses the request."""
AGAIN = "That is not an answer that I can read. Answer with nothing but the verdict."
PRIOR = 0.1
"""Wins that each response gets over each other one beforehand: without them a response that always wins would have no
finite score."""
PROMPTS_AT_A_TIME = 64


@dataclass
class Tally:
    """What is counted while judging."""

    pairs: int = 0
    """Pairs with a verdict in both orders."""
    disagreements: int = 0
    """Pairs whose verdicts contradict each other when the order is swapped."""
    asked_again: int = 0
    """Answers without a verdict, asked for once more."""

    def as_facts(self) -> dict[str, int]:
        """For the provenance."""
        return asdict(self)


def rate(
    judge: Judge, template: JudgeTemplate, highest: int, conversations: Sequence[Conversation], progress: Progress
) -> tuple[list[Score], Tally]:
    """A rating of each response, from 1 to `highest`."""
    tally = Tally()
    scores: list[Score] = []
    for batch in _batches(conversations, PROMPTS_AT_A_TIME):
        asked = [
            template.fill(conversation.kept, prompt=conversation.transcript, response=conversation.response)
            for conversation in batch
        ]
        scores += map(_score, _verdicts(judge, asked, lambda answer: rating(answer, highest), tally))
        progress.advance(len(batch))
    return scores, tally


def compare(
    judge: Judge,
    template: JudgeTemplate,
    conversations: Sequence[Conversation],
    reference: Sequence[Conversation],
    progress: Progress,
) -> tuple[list[Score], Tally]:
    """A score of each response by comparing it with the others to its prompt, each pair in both orders.

    Scores are the log-strengths of a Bradley-Terry model (Bradley and Terry 1952), with mean 0 over the distinct
    responses to a prompt. With a reference, the first draw is compared with the reference's first, and so on, and the
    log-odds of winning there are added: then scores of a policy and of its reference can be compared, whose own have
    mean 0. Equal responses have equal scores.

    Args:
        reference: conversations of the reference, or nothing.
    """
    tally = Tally()
    ours, theirs = _by_prompt(conversations), _by_prompt(reference)
    scores: dict[tuple[Question, str], Score] = {}
    for batch in _batches(list(ours), PROMPTS_AT_A_TIME):
        duels = {prompt: list(combinations(dict.fromkeys(ours[prompt]), 2)) for prompt in batch}
        duels_with_reference = {
            prompt: list(zip(ours[prompt], theirs.get(prompt, ()), strict=False)) for prompt in batch
        }
        preferences = _preferences(judge, template, [duels, duels_with_reference], tally)
        for prompt in batch:
            found = _strengths(list(dict.fromkeys(ours[prompt])), prompt, preferences)
            if reference:
                odds = _log_odds([preferences[prompt, *duel] for duel in duels_with_reference[prompt]])
                found = {text: _shifted(score, odds) for text, score in found.items()}
            scores.update({(prompt, text): score for text, score in found.items()})
        progress.advance(sum(len(ours[prompt]) for prompt in batch))
    return [scores[_question(conversation), conversation.response] for conversation in conversations], tally


class Question(NamedTuple):
    """What a judge is shown of a prompt."""

    transcript: str
    kept: str
    """JSON of the columns that it keeps."""


def _question(conversation: Conversation) -> Question:
    return Question(conversation.transcript, conversation.kept)


Verdict = float | str
"""A verdict's value, or why there is none."""


def _verdicts(
    judge: Judge, asked: Sequence[str], read: Callable[[Answer], float | None], tally: Tally
) -> list[Verdict]:
    """The verdict on each message; an answer without one is asked for once more."""
    messages: list[Messages] = [[{"role": "user", "content": text}] for text in asked]
    answers = judge.ask(messages)
    found: list[Verdict | None] = [REFUSED if answer is None else read(answer) for answer in answers]
    again = [row for row, value in enumerate(found) if value is None]
    tally.asked_again += len(again)
    repeated = judge.ask([[*messages[row], *_reply(answers[row])] for row in again])
    for row, answer in zip(again, repeated, strict=True):
        found[row] = None if answer is None else read(answer)
    return [NO_VERDICT if value is None else value for value in found]


def _reply(answer: Answer | None) -> Messages:
    assert answer is not None
    return [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": AGAIN}]


Duels = dict[Question, list[tuple[str, str]]]
"""Prompt -> the pairs of responses that are compared."""
Preferences = dict[tuple[Question, str, str], Verdict]
"""Prompt and two responses -> how far the first is preferred, or why that is not known."""


def _preferences(judge: Judge, template: JudgeTemplate, groups: Sequence[Duels], tally: Tally) -> Preferences:
    """The mean preference over both orders. Equal responses are equally good without being asked about."""
    found: Preferences = {}
    for duels in groups:
        keys = list(dict.fromkeys((prompt, *pair) for prompt, pairs in duels.items() for pair in pairs))
        found |= {key: 0.5 for key in keys if key[1] == key[2]}
        keys = [key for key in keys if key not in found]
        orders = [order for prompt, one, other in keys for order in ((prompt, one, other), (prompt, other, one))]
        asked = [
            template.fill(prompt.kept, prompt=prompt.transcript, response_a=a, response_b=b) for prompt, a, b in orders
        ]
        verdicts = _verdicts(judge, asked, preference, tally)
        for key, first, second in zip(keys, verdicts[::2], verdicts[1::2], strict=True):
            found[key] = _of_both_orders(first, second, tally)
    return found


def _of_both_orders(first: Verdict, second: Verdict, tally: Tally) -> Verdict:
    if isinstance(first, str):
        return first
    if isinstance(second, str):
        return second
    tally.pairs += 1
    tally.disagreements += (first - 0.5) * (0.5 - second) < 0
    return (first + 1 - second) / 2


def _strengths(responses: list[str], prompt: Question, preferences: Preferences) -> dict[str, Score]:
    """Log-strengths of the distinct responses to a prompt."""
    if len(responses) == 1:
        return {responses[0]: Score(0.0)}
    wins = np.zeros((len(responses), len(responses)))
    reasons = [NO_VERDICT] * len(responses)
    for one, other in combinations(range(len(responses)), 2):
        share = preferences[prompt, responses[one], responses[other]]
        if isinstance(share, str):
            reasons[one] = reasons[other] = share
        else:
            wins[one, other], wins[other, one] = share, 1 - share
    rows = np.flatnonzero(wins.any(axis=0) | wins.any(axis=1))
    scores = {text: Score(None, reason) for text, reason in zip(responses, reasons, strict=True)}
    if len(rows):
        strengths = choix.ilsr_pairwise_dense(wins[np.ix_(rows, rows)] + PRIOR * (1 - np.eye(len(rows))))
        scores |= {responses[row]: Score(float(value)) for row, value in zip(rows, strengths, strict=True)}
    return scores


def _log_odds(preferences: Sequence[Verdict]) -> float | None:
    """Log-odds of beating the reference; None where no verdict is known."""
    known = [value for value in preferences if not isinstance(value, str)]
    if not known:
        return None
    return math.log((sum(known) + PRIOR) / (len(known) - sum(known) + PRIOR))


def _shifted(score: Score, odds: float | None) -> Score:
    if score.value is None:
        return score
    return Score(None, NO_VERDICT) if odds is None else Score(score.value + odds)


def _by_prompt(conversations: Sequence[Conversation]) -> dict[Question, list[str]]:
    found: dict[Question, list[str]] = {}
    for conversation in conversations:
        found.setdefault(_question(conversation), []).append(conversation.response)
    return found


def _score(verdict: Verdict) -> Score:
    return Score(None, verdict) if isinstance(verdict, str) else Score(verdict)


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
