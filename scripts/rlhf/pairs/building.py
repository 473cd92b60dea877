"""Build the preference pairs of each prompt from its rewarded responses, and count what is dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from rlhf.pairs.choice import Candidate, ChosenPair, choose_pairs
from rlhf.pairs.pool import Pool, Sampled, pooled
from rlhf.pairs.schema import artifact_of_pairs
from rlhf.pairs.settings import PairSpec

DROP_REASONS = ("no_two_candidates", "tie", "identical", "below_margin")
"""Why a prompt has no pair, in the order of the checks; the first reason that applies is counted. Where several pairs
of a prompt are looked at and none is left, it is the reason of the first of them."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of a part, in the order of the prompts, and counts of what was dropped."""

    table: pa.Table
    prompts: int
    dropped: dict[str, int]
    candidates_dropped: dict[str, int]
    pairs_dropped: dict[str, int] | None = None
    """Of the pairs that were looked at; None with one pair per prompt, which is dropped with its prompt."""

    @property
    def counts(self) -> dict[str, object]:
        """Counts for the provenance: each of the `prompts` has one of the `pairs` or was `dropped`.

        With several pairs per prompt, each of the `prompts` is one of the `paired_prompts` or was `dropped`, and each
        pair that was looked at is one of the `pairs` or of the `pairs_dropped`.
        """
        counts: dict[str, object] = {
            "prompts": self.prompts,
            "pairs": len(self.table),
            "dropped": self.dropped,
            "candidates_dropped": self.candidates_dropped,
        }
        if self.pairs_dropped is not None:
            counts["paired_prompts"] = self.prompts - sum(self.dropped.values())
            counts["pairs_dropped"] = self.pairs_dropped
        return counts


def build(prompts: pa.Table, members: Sequence[Sampled], spec: PairSpec) -> Pairs:
    """Build the pairs of each prompt.

    With the choice `best` a prompt needs one candidate, and neither a margin nor different sequences.

    Candidates are responses that were not truncated and have a reward. There is no pair if fewer than two candidates
    are left, the margin is 0 or below `spec.min_margin`, or the token sequences are identical. The order of the rows of
    responses and rewards does not matter.

    Args:
        prompts: rows of `PROMPTS` of one part.
        members: the policies whose responses are paired, in the order of `spec.pool`.
        spec: how the responses are chosen, how many pairs there are, and the minimum margin of their rewards.

    Raises:
        ArtifactError: prompts, responses and rewards do not match; names file and row.
    """
    pool = pooled(prompts, members)
    token_ids = pool.responses["response_token_ids"].combine_chunks()
    dropped = dict.fromkeys(DROP_REASONS, 0)
    pairs_dropped = dict.fromkeys(DROP_REASONS[1:], 0)
    chosen = _Side()
    rejected = _Side()
    prompt_rows: list[int] = []
    for prompt_row, prompt in enumerate(prompts["prompt_id"].to_pylist()):
        valid = pool.candidates[prompt]
        looked_at = choose_pairs(valid, prompt, spec) if len(valid) >= spec.fewest_candidates else []
        reasons = [_reason(pair, token_ids, spec) for pair in looked_at]
        for pair, reason in zip(looked_at, reasons, strict=True):
            if reason is not None:
                pairs_dropped[reason] += 1
                continue
            prompt_rows.append(prompt_row)
            chosen.add(pair[0], valid)
            rejected.add(pair[1], valid)
        if None not in reasons:
            dropped[next(filter(None, reasons), DROP_REASONS[0])] += 1
    table = _table(prompts, pool, prompt_rows, {"chosen": chosen, "rejected": rejected}, spec)
    several = pairs_dropped if spec.per_prompt > 1 else None
    return Pairs(table, len(prompts), dropped, pool.dropped, several)


def win_probability(candidate: Candidate, candidates: Sequence[Candidate]) -> float:
    """Mean of sigmoid(r - r_j) over the other candidates j: SPPO's estimate of the win rate against the policy.

    One half if there are none. The sum is exact (`math.fsum`), so that the order of the candidates does not matter.
    """
    others = [other for other in candidates if other.draw != candidate.draw]
    wins = math.fsum(_sigmoid(candidate.reward - other.reward) for other in others)
    return wins / len(others) if others else 0.5


def _sigmoid(x: float) -> float:
    """The logistic function 1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _reason(pair: ChosenPair, token_ids: pa.ListArray, spec: PairSpec) -> str | None:
    """Why these two are no pair; None if they are one."""
    better, worse = pair
    margin = better.reward - worse.reward
    if spec.choose != "best":
        if margin == 0:
            return "tie"
        if token_ids[better.row].equals(token_ids[worse.row]):
            return "identical"
    return "below_margin" if margin < spec.min_margin else None


@dataclass
class _Side:
    """One side of all pairs: the chosen responses, or the rejected ones."""

    rows: list[int] = field(default_factory=list)
    draws: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    win_probabilities: list[float] = field(default_factory=list)

    def add(self, candidate: Candidate, candidates: Sequence[Candidate]) -> None:
        self.rows.append(candidate.row)
        self.draws.append(candidate.draw)
        self.rewards.append(candidate.reward)
        self.win_probabilities.append(win_probability(candidate, candidates))

    def columns(self, name: str, pool: Pool, policies: Sequence[str]) -> dict[str, Any]:
        taken = pool.responses.take(pa.array(self.rows, pa.int64()))
        sources = [pool.policy_and_draw(number) for number in self.draws]
        return {
            name: taken["response"],
            f"{name}_token_ids": taken["response_token_ids"],
            f"{name}_draw": pa.array([draw for _, draw in sources], pa.int32()),
            f"{name}_reward": pa.array(self.rewards, pa.float32()),
            f"{name}_win_probability": pa.array(self.win_probabilities, pa.float32()),
            **({f"{name}_policy": [policies[position] for position, _ in sources]} if policies else {}),
        }


def _table(prompts: pa.Table, pool: Pool, prompt_rows: list[int], sides: dict[str, _Side], spec: PairSpec) -> pa.Table:
    taken = prompts.take(pa.array(prompt_rows, pa.int64()))
    columns = {"prompt_id": taken["prompt_id"], "prompt_token_ids": taken["prompt_token_ids"]}
    for name, side in sides.items():
        columns |= side.columns(name, pool, spec.pool)
    schema = artifact_of_pairs(pooled=bool(spec.pool), per_prompt=spec.per_prompt).schema
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
