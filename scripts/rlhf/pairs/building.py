"""Build the preference pair of each prompt from its rewarded responses, and count what is dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from rlhf.pairs.choice import Candidate, choose_pair
from rlhf.pairs.pool import Pool, Sampled, pooled
from rlhf.pairs.schema import PAIRS, POOLED_PAIRS
from rlhf.pairs.settings import PairSpec

DROP_REASONS = ("no_two_candidates", "tie", "identical", "below_margin")
"""Why a prompt has no pair, in the order of the checks; the first reason that applies is counted."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of a part, as rows of `PAIRS` in the order of the prompts, and counts of what was dropped."""

    table: pa.Table
    prompts: int
    dropped: dict[str, int]
    candidates_dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, object]:
        """Counts for the provenance: each of the `prompts` has one of the `pairs` or was `dropped`."""
        return {
            "prompts": self.prompts,
            "pairs": len(self.table),
            "dropped": self.dropped,
            "candidates_dropped": self.candidates_dropped,
        }


def build(prompts: pa.Table, members: Sequence[Sampled], spec: PairSpec) -> Pairs:
    """Build the pair of each prompt.

    With the choice `best` a prompt needs one candidate, and neither a margin nor different sequences.

    Candidates are responses that were not truncated and have a reward. There is no pair if fewer than two candidates
    are left, the margin is 0 or below `spec.min_margin`, or the token sequences are identical. The order of the rows of
    responses and rewards does not matter.

    Args:
        prompts: rows of `PROMPTS` of one part.
        members: the policies whose responses are paired, in the order of `spec.pool`.
        spec: how the two responses are chosen, and the minimum margin of their rewards.

    Raises:
        ArtifactError: prompts, responses and rewards do not match; names file and row.
    """
    pool = pooled(prompts, members)
    token_ids = pool.responses["response_token_ids"].combine_chunks()
    dropped = dict.fromkeys(DROP_REASONS, 0)
    chosen = _Side()
    rejected = _Side()
    prompt_rows: list[int] = []
    for prompt_row, prompt in enumerate(prompts["prompt_id"].to_pylist()):
        valid = pool.candidates[prompt]
        pair = choose_pair(valid, prompt, spec) if len(valid) >= (1 if spec.choose == "best" else 2) else None
        reason = _reason(pair, token_ids, spec)
        if pair is None or reason is not None:
            dropped[reason or DROP_REASONS[0]] += 1
            continue
        prompt_rows.append(prompt_row)
        chosen.add(pair[0], valid)
        rejected.add(pair[1], valid)
    table = _table(prompts, pool, prompt_rows, {"chosen": chosen, "rejected": rejected}, spec.pool)
    return Pairs(table, len(prompts), dropped, pool.dropped)


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


def _reason(pair: tuple[Candidate, Candidate] | None, token_ids: pa.ListArray, spec: PairSpec) -> str | None:
    """Why the prompt has no pair; None if it has one."""
    if pair is None:
        return "no_two_candidates"
    best, worst = pair
    margin = best.reward - worst.reward
    if spec.choose != "best":
        if margin == 0:
            return "tie"
        if token_ids[best.row].equals(token_ids[worst.row]):
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


def _table(
    prompts: pa.Table, pool: Pool, prompt_rows: list[int], sides: dict[str, _Side], policies: Sequence[str]
) -> pa.Table:
    taken = prompts.take(pa.array(prompt_rows, pa.int64()))
    columns = {"prompt_id": taken["prompt_id"], "prompt_token_ids": taken["prompt_token_ids"]}
    for name, side in sides.items():
        columns |= side.columns(name, pool, policies)
    schema = (POOLED_PAIRS if policies else PAIRS).schema
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
