"""Scores from a judge: ratings of single responses, or verdicts on pairs of responses to the same prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TypeVar

import choix
import numpy as np

from rlhf.machine.progress import Progress
from rlhf.rewards.judge.client import Judge, Messages
from rlhf.rewards.judge.journal import Answer
from rlhf.rewards.judge.templates import JudgeTemplate
from rlhf.rewards.judge.verdicts import preference, rating
from rlhf.rewards.scorer import Score

Conversation = tuple[str, str]
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
        asked = [template.fill(prompt=prompt, response=response) for prompt, response in batch]
        scores += map(_score, _verdicts(judge, asked, lambda answer: rating(answer, highest), tally))
        progress.advance(len(batch))
    return scores, tally


def compare(
    judge: Judge, template: JudgeTemplate, conversations: Sequence[Conversation], progress: Progress
) -> tuple[list[Score], Tally]:
    """A score of each response by comparing it with the others to its prompt, each pair in both orders.

    Scores are the log-strengths of a Bradley-Terry model (Bradley and Terry 1952), with mean 0 over the distinct
    responses to a prompt: they say nothing across prompts. Equal responses have equal scores.
    """
    tally = Tally()
    responses: dict[str, dict[str, None]] = {}
    for prompt, response in conversations:
        responses.setdefault(prompt, {})[response] = None
    counts = Counter(prompt for prompt, _ in conversations)
    scores: dict[Conversation, Score] = {}
    for batch in _batches(list(responses), PROMPTS_AT_A_TIME):
        orders = [
            (prompt, first, second)
            for prompt in batch
            for one, other in combinations(responses[prompt], 2)
            for first, second in ((one, other), (other, one))
        ]
        asked = [template.fill(prompt=prompt, response_a=a, response_b=b) for prompt, a, b in orders]
        verdicts = dict(zip(orders, _verdicts(judge, asked, preference, tally), strict=True))
        for prompt in batch:
            found = _bradley_terry(prompt, list(responses[prompt]), verdicts, tally)
            scores.update({(prompt, response): score for response, score in found.items()})
        progress.advance(sum(counts[prompt] for prompt in batch))
    return [scores[conversation] for conversation in conversations], tally


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


def _bradley_terry(
    prompt: str, responses: list[str], verdicts: dict[tuple[str, str, str], Verdict], tally: Tally
) -> dict[str, Score]:
    wins = np.zeros((len(responses), len(responses)))
    reasons: dict[int, str] = {}
    for one, other in combinations(range(len(responses)), 2):
        shown_first = verdicts[prompt, responses[one], responses[other]]
        shown_second = verdicts[prompt, responses[other], responses[one]]
        if isinstance(shown_first, str) or isinstance(shown_second, str):
            reason = shown_first if isinstance(shown_first, str) else shown_second
            reasons |= dict.fromkeys((one, other), str(reason))
            continue
        share = (shown_first + 1 - shown_second) / 2
        wins[one, other] += share
        wins[other, one] += 1 - share
        tally.pairs += 1
        tally.disagreements += (shown_first - 0.5) * (0.5 - shown_second) < 0
    judged = wins.any(axis=0) | wins.any(axis=1)
    if len(responses) == 1:
        return {responses[0]: Score(0.0)}
    scores = {response: Score(None, reasons.get(row, NO_VERDICT)) for row, response in enumerate(responses)}
    rows = np.flatnonzero(judged)
    if len(rows):
        strengths = choix.ilsr_pairwise_dense(wins[np.ix_(rows, rows)] + PRIOR * (1 - np.eye(len(rows))))
        scores |= {responses[row]: Score(float(value)) for row, value in zip(rows, strengths, strict=True)}
    return scores


def _score(verdict: Verdict) -> Score:
    return Score(None, verdict) if isinstance(verdict, str) else Score(verdict)


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
