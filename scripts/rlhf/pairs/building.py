"""From the scored responses of a prompt to its preference pair; whatever is dropped is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlhf.base.artifacts import ArtifactError
from rlhf.pairs.choice import Candidate, choose_pair
from rlhf.pairs.schema import PAIRS
from rlhf.pairs.settings import PairSpec

DROP_REASONS = ("no_two_candidates", "tie", "identical", "below_margin")
"""Why a prompt has no pair, in the order in which it is looked at; the first reason that fits counts."""
FINISHED, TRUNCATED = "stop", "length"


@dataclass(frozen=True)
class Pairs:
    """The pairs of a part, as rows of `PAIRS` in the order of the prompts, and what was dropped."""

    table: pa.Table
    prompts: int
    dropped: dict[str, int]
    candidates_dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, object]:
        """Each of the `prompts` has one of the `pairs` or was `dropped`; candidates are dropped before that."""
        return {
            "prompts": self.prompts,
            "pairs": len(self.table),
            "dropped": self.dropped,
            "candidates_dropped": self.candidates_dropped,
        }


def build(
    prompts: pa.Table,
    responses: pa.Table,
    rewards: pa.Table,
    spec: PairSpec,
    *,
    responses_path: Path,
    rewards_path: Path,
) -> Pairs:
    """The pair of each prompt.

    A candidate came to its end and has a reward; the others are dropped, and not the prompt while two are left. No
    pair: a margin of 0, identical tokens, or a margin below `spec.min_margin`. The order of the rows of `responses`
    and `rewards` does not matter.

    Args:
        prompts, responses, rewards: rows of `PROMPTS`, `RESPONSES` and `REWARDS` of one part.
        spec: how the two are chosen, and the smallest margin of their rewards.
        responses_path, rewards_path: for messages.

    Raises:
        ArtifactError: responses and rewards are not those of the prompts, or of each other; with file and row.
    """
    candidates, candidates_dropped = _candidates(prompts, responses, rewards, responses_path, rewards_path)
    token_ids = responses["response_token_ids"].combine_chunks()
    dropped = dict.fromkeys(DROP_REASONS, 0)
    chosen = _Side()
    rejected = _Side()
    prompt_rows: list[int] = []
    for prompt_row, prompt in enumerate(prompts["prompt_id"].to_pylist()):
        valid = candidates[prompt]
        pair = choose_pair(valid, prompt, spec) if len(valid) >= 2 else None
        reason = _reason(pair, token_ids, spec.min_margin)
        if pair is None or reason is not None:
            dropped[reason or DROP_REASONS[0]] += 1
            continue
        prompt_rows.append(prompt_row)
        chosen.add(pair[0], valid)
        rejected.add(pair[1], valid)
    table = _table(prompts, responses, prompt_rows, chosen, rejected)
    return Pairs(table, len(prompts), dropped, candidates_dropped)


def win_probability(candidate: Candidate, candidates: Sequence[Candidate]) -> float:
    """Mean over the other candidates j of sigmoid(r - r_j): SPPO's estimate of winning against the policy.

    The sum is exact, so that the order of the candidates does not matter.
    """
    others = [other for other in candidates if other.draw != candidate.draw]
    return math.fsum(_sigmoid(candidate.reward - other.reward) for other in others) / len(others)


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _reason(pair: tuple[Candidate, Candidate] | None, token_ids: pa.ListArray, min_margin: float) -> str | None:
    """Why the prompt has no pair, or None."""
    if pair is None:
        return "no_two_candidates"
    best, worst = pair
    margin = best.reward - worst.reward
    if margin == 0:
        return "tie"
    if token_ids[best.row].equals(token_ids[worst.row]):
        return "identical"
    return "below_margin" if margin < min_margin else None


def _candidates(
    prompts: pa.Table, responses: pa.Table, rewards: pa.Table, responses_path: Path, rewards_path: Path
) -> tuple[dict[str, list[Candidate]], dict[str, int]]:
    """The candidates of each prompt, and how many responses are none, by reason."""
    candidates: dict[str, list[Candidate]] = {prompt: [] for prompt in prompts["prompt_id"].to_pylist()}
    scores = _scores(responses, rewards, responses_path, rewards_path)
    dropped: Counter[str] = Counter()
    for row, prompt, draw, finish_reason in _rows(responses, "prompt_id", "draw", "finish_reason"):
        if prompt not in candidates:
            raise ArtifactError(
                f"{responses_path}: row {row}: prompt_id {prompt!r} is none of the part's {len(candidates)} prompts"
            )
        reward, invalid = scores[prompt, draw]
        if finish_reason not in (FINISHED, TRUNCATED):
            raise ArtifactError(
                f"{responses_path}: row {row}: finish_reason is {finish_reason!r}; it may be "
                f"{FINISHED!r} or {TRUNCATED!r}"
            )
        if finish_reason == TRUNCATED:
            dropped["truncated"] += 1
        elif reward is None:
            dropped[invalid] += 1
        else:
            candidates[prompt].append(Candidate(draw, reward, row))
    return candidates, dict(sorted(dropped.items()))


def _scores(
    responses: pa.Table, rewards: pa.Table, responses_path: Path, rewards_path: Path
) -> dict[tuple[str, int], tuple[float | None, str]]:
    """The reward of each response and why it has none, by prompt and draw.

    Raises:
        ArtifactError: a response without a row of rewards, a reward without its response, or null without a reason.
    """
    rows = {(prompt, draw): row for row, prompt, draw in _rows(responses, "prompt_id", "draw")}
    scores: dict[tuple[str, int], tuple[float | None, str]] = {}
    for row, prompt, draw, reward, invalid in _rows(rewards, "prompt_id", "draw", "reward", "invalid"):
        if (prompt, draw) not in rows:
            raise ArtifactError(
                f"{rewards_path}: row {row}: there is no response with prompt_id {prompt!r} and draw {draw} "
                f"in {responses_path}"
            )
        if reward is None and not invalid:
            raise ArtifactError(f"{rewards_path}: row {row}: reward is null, and `invalid` does not say why")
        scores[prompt, draw] = reward, invalid
    for key, row in rows.items():
        if key not in scores:
            raise ArtifactError(
                f"{responses_path}: row {row}: {rewards_path} has no reward for prompt_id {key[0]!r} and draw {key[1]}"
            )
    return scores


def _rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Row number and the values of some columns."""
    columns = [table[name].to_pylist() for name in names]
    return zip(range(len(table)), *columns, strict=True)


@dataclass
class _Side:
    """One side of the pairs: the chosen, or the rejected."""

    rows: list[int] = field(default_factory=list)
    draws: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    win_probabilities: list[float] = field(default_factory=list)

    def add(self, candidate: Candidate, candidates: Sequence[Candidate]) -> None:
        self.rows.append(candidate.row)
        self.draws.append(candidate.draw)
        self.rewards.append(candidate.reward)
        self.win_probabilities.append(win_probability(candidate, candidates))

    def columns(self, name: str, responses: pa.Table) -> dict[str, Any]:
        taken = responses.take(pa.array(self.rows, pa.int64()))
        return {
            name: taken["response"],
            f"{name}_token_ids": taken["response_token_ids"],
            f"{name}_draw": pa.array(self.draws, pa.int32()),
            f"{name}_reward": pa.array(self.rewards, pa.float32()),
            f"{name}_win_probability": pa.array(self.win_probabilities, pa.float32()),
        }


def _table(prompts: pa.Table, responses: pa.Table, prompt_rows: list[int], chosen: _Side, rejected: _Side) -> pa.Table:
    taken = prompts.take(pa.array(prompt_rows, pa.int64()))
    columns = {
        "prompt_id": taken["prompt_id"],
        "prompt_token_ids": taken["prompt_token_ids"],
        **chosen.columns("chosen", responses),
        **rejected.columns("rejected", responses),
    }
    return pa.Table.from_arrays([columns[name] for name in PAIRS.schema.names], schema=PAIRS.schema)
