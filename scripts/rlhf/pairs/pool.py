"""The candidates of a prompt from one policy, or from the pool of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.pairs.candidates import candidates_by_prompt
from rlhf.pairs.choice import Candidate


@dataclass(frozen=True)
class Sampled:
    """The responses of a policy to the prompts of a part, rows of `RESPONSES` and `REWARDS`, and their files."""

    responses: pa.Table
    rewards: pa.Table
    responses_path: Path
    rewards_path: Path


@dataclass(frozen=True)
class Pool:
    """The candidates of one or several policies.

    Draws are numbered through: those of the second policy go on after those of the first, so that no two candidates of
    a prompt have the same number.
    """

    candidates: dict[str, list[Candidate]]
    """Of each prompt. `row` is that of `responses`."""
    dropped: dict[str, int]
    """Responses that are no candidates, by reason, of all policies together."""
    responses: pa.Table
    """Of all policies, one after the other."""
    draws: int
    """How far apart the numbers of the policies are."""

    def policy_and_draw(self, number: int) -> tuple[int, int]:
        """The position of its policy, and the draw there, of a candidate's number."""
        return divmod(number, self.draws)


def pooled(prompts: pa.Table, members: Sequence[Sampled]) -> Pool:
    """The candidates of the prompts from the responses of all members.

    Raises:
        ArtifactError: prompts, responses and rewards of a member do not match; names file and row.
    """
    draws = 1 + max((pc.max(member.responses["draw"]).as_py() or 0) for member in members)
    candidates: dict[str, list[Candidate]] = {prompt: [] for prompt in prompts["prompt_id"].to_pylist()}
    dropped: Counter[str] = Counter()
    row = 0
    for position, member in enumerate(members):
        found, of_member = candidates_by_prompt(
            prompts, member.responses, member.rewards, member.responses_path, member.rewards_path
        )
        dropped.update(of_member)
        for prompt, own in found.items():
            candidates[prompt] += [replace(each, draw=each.draw + position * draws, row=each.row + row) for each in own]
        row += len(member.responses)
    responses = pa.concat_tables([member.responses for member in members])
    return Pool(candidates, dict(sorted(dropped.items())), responses, draws)
