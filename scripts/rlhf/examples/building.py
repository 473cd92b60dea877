"""Label rewarded responses as desirable or undesirable, give each the response to another prompt, count the rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rlhf.base.errors import UserError
from rlhf.examples.schema import EXAMPLES
from rlhf.examples.settings import ExampleSpec
from rlhf.pairs.candidates import candidates_by_prompt

SHOWN_QUANTILES = {"lowest": 0.0, "10 %": 0.1, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "highest": 1.0}
FEW_RESPONSES = 60
"""With fewer rewards it may be chance that none lies on one side, and training continues with the other parts."""


class Labelled(NamedTuple):
    """A response that is an example."""

    prompt: int
    """Row of its prompt."""
    draw: int
    row: int
    """Its row in the responses."""
    reward: float
    desirable: bool


@dataclass(frozen=True)
class Examples:
    """The examples of a part, as rows of `EXAMPLES` in the order of prompts and draws, and what was counted."""

    table: pa.Table
    responses: int
    desirable: int
    dropped: dict[str, int]
    """Responses that are no examples, by reason."""
    quantiles: dict[str, float]
    """Of the rewards of all responses that were not truncated; empty without any."""

    @property
    def undesirable(self) -> int:
        return len(self.table) - self.desirable

    @property
    def counts(self) -> dict[str, object]:
        """Counts for the provenance: each of the `responses` is one of the `examples` or was `dropped`."""
        return {
            "responses": self.responses,
            "examples": len(self.table),
            "desirable": self.desirable,
            "undesirable": self.undesirable,
            "dropped": self.dropped,
        }


def build(
    prompts: pa.Table,
    responses: pa.Table,
    rewards: pa.Table,
    responses_path: Path,
    rewards_path: Path,
    spec: ExampleSpec,
) -> Examples:
    """Build the examples of a part. The order of the rows of responses and rewards does not matter.

    Truncated responses and those without a reward are no examples. An example whose prompt is the only one of the part
    with examples is dropped: there is no response to another prompt.

    Args:
        prompts: rows of `PROMPTS` of the part.
        responses_path, rewards_path: for messages.

    Raises:
        ArtifactError: prompts, responses and rewards do not match; names file and row.
    """
    candidates, dropped = candidates_by_prompt(prompts, responses, rewards, responses_path, rewards_path)
    found: list[Labelled] = []
    values: list[float] = []
    for prompt, own in enumerate(candidates.values()):
        for one in sorted(own, key=lambda candidate: candidate.draw):
            values.append(one.reward)
            if one.reward > spec.desirable_above or one.reward < spec.undesirable_below:
                found.append(Labelled(prompt, one.draw, one.row, one.reward, one.reward > spec.desirable_above))
    others = mismatched(found, prompts["prompt_id"].to_pylist(), spec.seed)
    kept = found if others else []
    dropped |= {"between_thresholds": len(values) - len(found), "no_other_prompt": len(found) - len(kept)}
    table = _table(prompts, responses, kept, [found[other] for other in others])
    desirable = sum(one.desirable for one in kept)
    return Examples(table, len(responses), desirable, dropped, quantiles(values))


def mismatched(examples: Sequence[Labelled], prompt_ids: Sequence[str], seed: int) -> list[int]:
    """For each example the position of another one, of another prompt; empty if all are of one prompt.

    Prompts are put in an order by hash, and each example gets the one that follows at the distance of the largest
    number of examples of a prompt. So each is taken exactly once, as long as no prompt has more than half of them: the
    mismatched responses are the responses themselves, beside other prompts.
    """
    if len({example.prompt for example in examples}) < 2:
        return []

    def key(position: int) -> tuple[str, int]:
        example = examples[position]
        return hashlib.sha256(f"{seed}\0{prompt_ids[example.prompt]}".encode()).hexdigest(), example.draw

    order = sorted(range(len(examples)), key=key)
    distance = max(Counter(example.prompt for example in examples).values())
    found = [0] * len(examples)
    for place, position in enumerate(order):
        following = (order[(place + distance + more) % len(order)] for more in range(len(order)))
        found[position] = next(other for other in following if examples[other].prompt != examples[position].prompt)
    return found


def quantiles(rewards: Sequence[float]) -> dict[str, float]:
    """How the rewards are distributed, by name of the quantile."""
    return {name: float(np.quantile(rewards, share)) for name, share in SHOWN_QUANTILES.items()} if rewards else {}


def require_both_kinds(found: Examples, spec: ExampleSpec, where: str) -> None:
    """Stop if a part has no desirable or no undesirable examples: a policy would learn from one kind alone.

    Raises:
        UserError: which threshold, and how the rewards are distributed.
    """
    if found.responses < FEW_RESPONSES:
        return
    if not found.quantiles:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.dropped.items() if count)
        raise UserError(
            f"{where}: none of {found.responses} responses can be an example ({reasons}): raise "
            "`responses.max_tokens` if they were truncated, or check `rewards`"
        )
    for kind, count, key, value in (
        ("desirable", found.desirable, "desirable_above", spec.desirable_above),
        ("undesirable", found.undesirable, "undesirable_below", spec.undesirable_below),
    ):
        if not count:
            raise UserError(
                f"{where}: no response is {kind}: `examples.{key}` is {value:g}, and the rewards are distributed as "
                f"follows: {in_words(found.quantiles)}. Set it so that responses lie on both sides."
            )


def in_words(found: dict[str, float]) -> str:
    """`lowest 0.1, 10 % 0.12, ...`"""
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def _table(
    prompts: pa.Table, responses: pa.Table, examples: Sequence[Labelled], others: Sequence[Labelled]
) -> pa.Table:
    def taken(table: pa.Table, rows: list[int], name: str) -> pa.ChunkedArray:
        return table[name].take(pa.array(rows, pa.int64()))

    own, mismatching = [one.row for one in examples], [one.row for one in others]
    of_prompts = [one.prompt for one in examples]
    columns = {
        "prompt_id": taken(prompts, of_prompts, "prompt_id"),
        "draw": pa.array([one.draw for one in examples], pa.int32()),
        "prompt_token_ids": taken(prompts, of_prompts, "prompt_token_ids"),
        "response_token_ids": taken(responses, own, "response_token_ids"),
        "desirable": pa.array([one.desirable for one in examples], pa.bool_()),
        "reward": pa.array([one.reward for one in examples], pa.float32()),
        "other_prompt_id": taken(responses, mismatching, "prompt_id"),
        "other_draw": taken(responses, mismatching, "draw"),
        "other_token_ids": taken(responses, mismatching, "response_token_ids"),
        "response": taken(responses, own, "response"),
    }
    return pa.Table.from_arrays([columns[name] for name in EXAMPLES.schema.names], schema=EXAMPLES.schema)
